"""The real data sets, read from the folder that FASTGCN_REC_DATA names; skipped where a data set is not there."""

import os

import numpy as np
import pytest

from fastgcn_rec.data import available_datasets, load_dataset

LOCAL = (
    {info.name for info in available_datasets() if info.found is not None} if "FASTGCN_REC_DATA" in os.environ else ()
)


def needs(name):
    return pytest.mark.skipif(name not in LOCAL, reason=f"needs {name} in the folder that FASTGCN_REC_DATA names")


@pytest.mark.parametrize(
    ("name", "users", "items", "train", "test", "user_max", "item_max"),
    [
        pytest.param("gowalla", 29858, 40981, 810128, 217242, 811, 1415, marks=needs("gowalla")),
        pytest.param("yelp2018", 31668, 38048, 1237259, 324147, 1848, 1258, marks=needs("yelp2018")),
    ],
)
def test_lightgcn_split_is_the_published_one(name, users, items, train, test, user_max, item_max):
    report = load_dataset(name).report()
    assert report.published is True
    assert (report.users, report.items, report.train, report.test) == (users, items, train, test)
    assert (report.duplicates, report.overlap, report.cold_users, report.cold_items) == (0, 0, 0, 0)
    assert (report.user_degree[2], report.item_degree[2]) == (user_max, item_max)


@needs("gowalla")
def test_popularity_scores_the_recorded_recall_on_gowalla():
    data = load_dataset("gowalla")
    order = np.argsort(data.train.users, kind="stable")
    train_of = np.split(data.train.items[order], np.cumsum(np.bincount(data.train.users))[:-1])
    order = np.argsort(data.test.users, kind="stable")
    test_of = np.split(data.test.items[order], np.cumsum(np.bincount(data.test.users))[:-1])
    # Internal ids are in the order of popularity, so a ranking is the first 20 ids that were not seen.
    recall = []
    for seen, held in zip(train_of, test_of, strict=True):
        candidates = np.setdiff1d(np.arange(20 + seen.size), seen, assume_unique=False)[:20]
        recall.append(np.isin(held, candidates).mean())
    assert np.mean(recall) == pytest.approx(0.04163, abs=2e-5)


@needs("ml-100k")
def test_ml100k_has_titles_years_genres_and_one_cut_in_time():
    data = load_dataset("ml-100k")
    assert data.fingerprint() == "943-1682-80000-20000-7ee64d2c83fe4014"
    assert data.train.time.max() <= data.test.time.min()
    info = {key: column[data.items_of([1, 267, 1412])].tolist() for key, column in data.item_info.items()}
    assert info["title"] == ["Toy Story", "unknown", "Land Before Time III: The Time of the Great Giving"]
    assert info["year"] == [1995, 0, 1995]
    assert info["genres"][0] == "Animation|Children's|Comedy"
    if data.user_info:  # the file of users may be missing
        people = {key: column[data.users_of([1])].tolist() for key, column in data.user_info.items()}
        assert people == {"age": ["24"], "gender": ["M"], "occupation": ["technician"], "zip_code": ["85711"]}


@needs("ml-1m")
def test_ml1m_films_have_their_movielens_numbers():
    data = load_dataset("ml-1m", split="none")
    assert (data.n_users, data.n_items, len(data.train)) == (6040, 3706, 1000209)
    assert data.item_ids[:3].tolist() == [2858, 260, 1196]
    assert data.item_info["title"][0] == "American Beauty"
    assert data.user_ids[0] == 4169


@needs("online-retail")
def test_online_retail_keeps_first_purchases():
    data = load_dataset("online-retail")
    assert len(data.train) + len(data.test) == 266221
    assert data.dropped_duplicates == 396337 - 266221
    assert data.item_info["title"][data.items_of(["85123A"])] == "WHITE HANGING HEART T-LIGHT HOLDER"
