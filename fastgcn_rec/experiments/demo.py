"""What ``fastgcn-rec demo`` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..data import Dataset, DatasetUnavailableError, load_dataset
from ..models import Popularity, Recommender
from ..ranking.evaluate import evaluate
from ..ranking.two_stage import TwoStage
from ..system.progress import stage
from ..training.config import TrainConfig
from ..training.loop import fit
from .recipes import RECIPES
from .runs import train_and_write

_LIKED = ("Star Wars", "Empire Strikes Back, The", "Raiders of the Lost Ark", "Alien", "Terminator, The")


def demo(out: Path) -> None:
    """ml-100k: popularity, MF and LightGCN side by side; one user's list, a new user's, and two stages."""
    with stage("loading ml-100k, which is downloaded the first time"):
        try:
            data = load_dataset("ml-100k", split="temporal-user")  # each user's latest 20 %: nobody is cold
        except DatasetUnavailableError as error:
            raise RuntimeError(f"the demo needs ml-100k: {error}") from None
        print(data.report())
    with stage("popularity: ranking all items for every user, the same order for all"):
        best: Recommender = Popularity(data)
        table = {"popularity": evaluate(best, data.test)}
    # Both tuned on a held-out part of train.
    small: dict[str, Any] = {"epochs": 120, "batch_size": 1024, "eval_every": 10, "patience": 3, "refit": True}
    own: dict[str, dict[str, Any]] = {"MF": {"lr": 2e-3, "reg": 1e-2}, "LightGCN": {"lr": 5e-3, "reg": 1e-3}}
    for name, recipe in (("MF", "mf"), ("LightGCN", "default")):
        with stage(
            f"{name}: training until a held-out part grows no better, then anew on all of train for as many epochs"
        ):
            best = RECIPES[recipe].make_model(data)
            config = RECIPES[recipe].training().replaced(**small, **own[name])
            table[name] = train_and_write(best, data, config, out / name.lower())
    print(f"{'temporal test split':20s} Recall@20  NDCG@20")
    for name, metrics in table.items():
        print(f"{name:20s} {metrics['recall@20']:9.4f} {metrics['ndcg@20']:8.4f}")
    with stage("LightGCN: recommending to a user of the data, and to a new one"):
        _show_user(best, data)
        _show_new_user(best, data)
    with stage(
        "two stages: candidates by a LightGCN that has not seen the latest items, and a ranker that learns from these"
    ):
        _show_two_stage(best, data, config, table["LightGCN"])
    print(f"\nmodel, metrics and curves: {out / 'lightgcn'}/{{model.npz,metrics.json,curves.png}}")


def _show_user(model: Recommender, data: Dataset) -> None:
    """What the user with the median number of training items liked, beside what the model recommends."""
    degree = model.graph.user_degree
    row = int(degree.argsort(stable=True)[int((degree == 0).sum()) + int((degree > 0).sum()) // 2])
    titles = data.item_info.get("title", data.item_ids)
    graph = model.graph
    seen = graph.indices[graph.indptr[row] : graph.indptr[row + 1]].tolist()
    ids, _ = model.recommend([data.user_ids[row]], 10)
    print(f"\nuser {data.user_ids[row]}: {'watched':42s} recommended")
    best = data.items_of(ids[0]).tolist()
    for watched, item in zip(seen[:10] + [None] * (10 - len(seen[:10])), best, strict=True):
        left = "" if watched is None else str(titles[watched])
        print(f"  {left[:46]:48s} {titles[item]}")


def _show_new_user(model: Recommender, data: Dataset) -> None:
    """What somebody who is not in the data gets for five liked titles: folded in, nothing is trained."""
    titles = data.item_info["title"]
    liked = np.flatnonzero(np.isin(titles, _LIKED))
    ids, _ = model.recommend_new([data.item_ids[liked].tolist()], 10)
    print(f"\na new user who likes {'; '.join(titles[liked])} gets")
    print("\n".join(f"  {title}" for title in titles[data.items_of(ids[0])]))


def _show_two_stage(serving: Recommender, data: Dataset, config: TrainConfig, one_stage: dict[str, Any]) -> None:
    """LightGCN's 100 candidates in the order of gradient-boosted trees, where scikit-learn is there."""
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError:
        print("\ntwo stages: left out, they need scikit-learn: pip install 'fastgcn_rec[rank]'")
        return
    part, _ = data.split_valid(0.1, by="temporal")  # the ranker learns on what the candidates' model has not seen
    candidates = RECIPES["default"].make_model(part)
    fit(candidates, part, config, protocol="none", refit=False, epochs=one_stage["best_epoch"], progress=False)
    genres = data.item_info["genres"]
    names = sorted({name for row in genres.tolist() for name in row.split("|")})
    features = np.stack([data.item_info["year"], *([name in row for row in genres] for name in names)], 1)
    ranker = HistGradientBoostingClassifier(max_iter=100, learning_rate=0.05, random_state=0)
    two = TwoStage(candidates, ranker, serving=serving, item_features=features).fit(data)
    found = evaluate(two, data.test)
    print(f"\ntwo stages, {two.n_candidates} candidates by LightGCN, ordered by gradient-boosted trees:")
    print(f"  Recall@20 {found['recall@20']:.4f}, NDCG@20 {found['ndcg@20']:.4f}", end="; ")
    print(f"the candidates hold {two.ceiling(data.test)[f'recall@{two.n_candidates}']:.4f} of what is wanted")
