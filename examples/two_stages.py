"""Candidates, then a ranker that sees more: python examples/two_stages.py [--data DATA]

A first model finds a hundred candidates a user out of all items; scikit-learn's boosted trees put them in order, by the score and by what the graph
says of user and item.
"""

from __future__ import annotations

import argparse

from sklearn.ensemble import HistGradientBoostingClassifier

import fastgcn_rec as fgr
from fastgcn_rec.data import load_dataset, synthetic_interactions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a name or a file; default: made up")
    args = parser.parse_args()
    data = (
        load_dataset(args.data, split="random")
        if args.data
        else synthetic_interactions(800, 500, 25_000, dim=8, seed=3)
    )

    part, _ = data.split_valid(0.2)  # what the candidates' model does not see is what the ranker learns from
    candidates = fgr.EASE(part, reg=100.0)
    serving = fgr.EASE(data, reg=100.0)
    two = fgr.TwoStage(candidates, HistGradientBoostingClassifier(max_iter=50, random_state=0), serving=serving).fit(
        data
    )
    for name, one in (("one stage", serving), ("two stages", two)):
        found = fgr.evaluate(one, data)
        print(f"{name:10s} Recall@20 {found['recall@20']:.4f}  NDCG@20 {found['ndcg@20']:.4f}")
    print("what no order of the candidates exceeds:", two.ceiling(data.test))


if __name__ == "__main__":
    main()
