"""Metrics by other libraries. ``python tests/ranking/other_libraries.py [NAME ...]`` writes what they give for the lists of ``cases()`` to metrics_of_others.json."""

import importlib.metadata
import json
import pathlib
import sys

import numpy as np

FILE = pathlib.Path(__file__).with_name("metrics_of_others.json")
KS = (1, 3, 10)
N_ITEMS, N_USERS = 40, 60


def cases():
    """(lists of items, some short, what is relevant to each) of users; among the lists are some without a hit and some that hold all."""
    rng = np.random.default_rng(7)
    lists, relevant = [], []
    for user in range(N_USERS):
        lists.append(rng.choice(N_ITEMS, 10 if user % 3 else int(rng.integers(1, 10)), replace=False).tolist())
        likely = rng.choice(N_ITEMS, int(rng.integers(1, 15)), replace=False).tolist()
        relevant.append(sorted(set(likely + (lists[-1][:2] if user % 4 == 0 else []))))
    return lists, relevant


def of_trec(lists, relevant):
    """pytrec_eval, whose reciprocal rank knows no cut-off: of the first k items."""
    import pytrec_eval

    qrels = {str(u): {str(item): 1 for item in own} for u, own in enumerate(relevant)}
    found = {}
    for k in KS:
        run = {str(u): {str(item): float(100 - n) for n, item in enumerate(own[:k])} for u, own in enumerate(lists)}
        names = {"recall": f"recall_{k}", "precision": f"P_{k}", "ndcg": f"ndcg_cut_{k}", "map": f"map_cut_{k}", "hit": f"success_{k}", "mrr": "recip_rank"}  # fmt: skip
        asked = {f"{name.rsplit('_', 1)[0]}.{k}" if name[-1].isdigit() else name for name in names.values()}
        values = pytrec_eval.RelevanceEvaluator(qrels, asked).evaluate(run)
        for name, theirs in names.items():
            found[f"{name}@{k}"] = [values[str(u)][theirs] for u in range(len(lists))]
    return found


def of_ranx(lists, relevant):
    import ranx

    qrels = ranx.Qrels({f"{u:03d}": {str(item): 1 for item in own} for u, own in enumerate(relevant)})
    run = ranx.Run(
        {f"{u:03d}": {str(item): float(100 - n) for n, item in enumerate(own)} for u, own in enumerate(lists)}
    )
    found = {}
    for name, theirs in {"recall": "recall", "precision": "precision", "ndcg": "ndcg", "map": "map", "hit": "hit_rate", "mrr": "mrr"}.items():  # fmt: skip
        for k in KS:
            values = ranx.evaluate(qrels, run, f"{theirs}@{k}", return_mean=False)
            found[f"{name}@{k}"] = np.asarray(values, float).tolist()
    return found


def of_torchmetrics(lists, relevant):
    """Of scores of all items, those that are not listed below the others. Its functions take hits for none where the score is not above 0."""
    import torch
    from torchmetrics.functional import retrieval as theirs

    names = {"recall": "recall", "precision": "precision", "ndcg": "normalized_dcg", "map": "average_precision", "hit": "hit_rate", "mrr": "reciprocal_rank"}  # fmt: skip
    found = {f"{name}@{k}": [] for name in names for k in KS}
    for own, wanted in zip(lists, relevant, strict=True):
        for k in KS:
            listed = [*own, *(item for item in range(N_ITEMS) if item not in own and item not in wanted)]
            scores = -torch.arange(1.0, N_ITEMS + 1)
            scores[listed] = torch.arange(N_ITEMS, N_ITEMS - len(listed), -1).float()
            target = torch.zeros(N_ITEMS, dtype=torch.int64)
            target[wanted] = 1
            for name, function in names.items():
                value = getattr(theirs, f"retrieval_{function}")(scores, target, top_k=k)
                found[f"{name}@{k}"].append(float(value))
    return found


LIBRARIES = {"pytrec_eval-terrier": of_trec, "ranx": of_ranx, "torchmetrics": of_torchmetrics}


if __name__ == "__main__":
    lists, relevant = cases()
    written = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name in sys.argv[1:] or LIBRARIES:
        written[name] = {"version": importlib.metadata.version(name), "values": LIBRARIES[name](lists, relevant)}
    FILE.write_text(json.dumps(written) + "\n")
