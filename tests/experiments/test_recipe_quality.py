"""Every recipe that trains is worth its training: above popularity on data of any size."""

import os

import pytest

from fastgcn_rec import Popularity, evaluate, fit
from fastgcn_rec.data import available_datasets, load_dataset, make_dataset, synthetic_interactions
from fastgcn_rec.experiments import RECIPES

TRAINED = [name for name, recipe in RECIPES.items() if recipe.train is not None]
QUICK = ["default", "mf", "softmax"]  # the others take longer
HERE = [info.name for info in available_datasets() if info.found]


def figures(name, data, **settings):
    """(recall, ndcg) of the recipe, of 64 columns at most, and those of popularity."""
    recipe = RECIPES[name]
    model = recipe.make_model(data, **{k: min(v, 64) for k, v in recipe.model_options.items() if k == "embedding_dim"})
    fit(model, data, recipe.training().replaced(**settings), progress=False)
    of = [evaluate(one, data.test) for one in (model, Popularity(data))]
    return [(one["recall@20"], one["ndcg@20"]) for one in of]


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in TRAINED if n not in QUICK)]
)
def test_on_a_few_hundred_edges(name):
    data = synthetic_interactions(60, 40, 600, dim=8, seed=2)
    (recall, ndcg), (least_recall, least_ndcg) = figures(name, data, batch_size=256, valid_fraction=0.1)
    assert recall > least_recall
    assert ndcg > least_ndcg


def test_epochs_alone_would_leave_such_data_untrained():
    data = synthetic_interactions(60, 40, 600, dim=8, seed=2)
    (recall, ndcg), (least_recall, least_ndcg) = figures("mf", data, min_steps=0)
    assert recall < least_recall
    assert ndcg < least_ndcg


@pytest.mark.slow
@pytest.mark.skipif(
    "FASTGCN_REC_DATA" not in os.environ or "ml-100k" not in HERE,
    reason="trains for a quarter of an hour: needs ml-100k in the folder that FASTGCN_REC_DATA names",
)
@pytest.mark.parametrize("split", ["random", "temporal"])
@pytest.mark.parametrize("name", [name for name in TRAINED if name != "paper"])  # whose epochs are a thousand
def test_on_the_training_part_of_ml_100k(name, split):
    outer = load_dataset("ml-100k", split=split)
    data = make_dataset("part", outer.to_frame("train", "dict"), split=split)  # the test part itself chooses nothing
    (recall, ndcg), (least_recall, least_ndcg) = figures(name, data)
    assert recall > least_recall
    assert ndcg > least_ndcg
