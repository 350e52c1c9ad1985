"""Our metrics are those of ranx, pytrec_eval and torchmetrics, but for what docs/evaluate.md says of MAP: by what they gave for the same lists, and live where
they are installed."""

import importlib
import importlib.util
import json
import pathlib

import numpy as np
import pytest

from fastgcn_rec import Recommendations, evaluate_users
from fastgcn_rec.data import Edges, build_dataset
from fastgcn_rec.ranking.metrics import USER_METRICS

_SPEC = importlib.util.spec_from_file_location(
    "other_libraries", pathlib.Path(__file__).with_name("other_libraries.py")
)
others = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(others)
MODULES = {"pytrec_eval-terrier": "pytrec_eval", "ranx": "ranx", "torchmetrics": "torchmetrics"}
TOLERANCE = {"pytrec_eval-terrier": 1e-12, "ranx": 1e-12, "torchmetrics": 1e-6}  # torchmetrics has float32


def ours(lists, relevant, **order):
    """Every user's metrics, by `evaluate_users`, of lists as a file has them."""
    users, items = zip(*((u, item) for u, own in enumerate(relevant) for item in own), strict=True)
    n_users, n_items = np.arange(len(relevant)), np.arange(others.N_ITEMS)
    data = build_dataset("lists", Edges([], []), Edges(users, items), n_users, n_items)
    rows = [(u, item) for u, own in enumerate(lists) for item in own]
    given = Recommendations(data, *map(list, zip(*rows, strict=True)), **order)
    found = evaluate_users(given, data, ks=others.KS, metrics=USER_METRICS)
    place = np.argsort(data.user_ids[found.users])
    return {name: values[place] for name, values in found.values.items()}


def as_theirs(library, found, lists, relevant):
    """MAP divides by min(K, |P|) here, by |P| in trec_eval and ranx, by the hits in the list in torchmetrics."""
    adapted = dict(found)
    for k in others.KS:
        wanted = np.array([len(own) for own in relevant])
        hits = np.array([len(set(own[:k]) & set(rel)) for own, rel in zip(lists, relevant, strict=True)])
        sums = found[f"map@{k}"] * np.minimum(k, wanted)
        adapted[f"map@{k}"] = sums / (np.maximum(hits, 1) if library == "torchmetrics" else wanted)
    return adapted


@pytest.mark.parametrize("library", others.LIBRARIES)
def test_metrics_are_those_that_others_gave(library):
    lists, relevant = others.cases()
    assert {len(own) for own in lists} >= {1, 10}
    theirs = json.loads(others.FILE.read_text())[library]["values"]
    found = as_theirs(library, ours(lists, relevant), lists, relevant)
    assert found.keys() == theirs.keys()
    for name, values in found.items():
        np.testing.assert_allclose(values, theirs[name], rtol=0, atol=TOLERANCE[library], err_msg=name)
        assert 0 < np.mean(values) < 1


@pytest.mark.parametrize(
    "library",
    ["pytrec_eval-terrier", pytest.param("ranx", marks=pytest.mark.slow), "torchmetrics"],  # numba compiles for minutes
)
@pytest.mark.filterwarnings("ignore")
def test_what_they_gave_is_what_they_give(library):
    try:
        importlib.import_module(MODULES[library])
    except ImportError as error:
        pytest.skip(str(error))
    lists, relevant = others.cases()
    live = others.LIBRARIES[library](lists, relevant)
    for name, values in json.loads(others.FILE.read_text())[library]["values"].items():
        np.testing.assert_allclose(live[name], values, atol=1e-6, err_msg=name)


def test_ties_of_trec_eval_are_an_order_of_the_rows():
    """trec_eval sorts equal scores by the document's text, last first; here they stay in the order of the rows, so that any rule of others can be had."""
    trec = pytest.importorskip("pytrec_eval")
    lists, relevant = others.cases()
    rng = np.random.default_rng(1)
    scores = [rng.integers(0, 3, len(own)).astype(float).tolist() for own in lists]
    qrels = {str(u): {str(item): 1 for item in own} for u, own in enumerate(relevant)}
    run = {
        str(u): dict(zip(map(str, own), s, strict=True)) for u, (own, s) in enumerate(zip(lists, scores, strict=True))
    }
    theirs = trec.RelevanceEvaluator(qrels, {"ndcg_cut.3", "recall.3"}).evaluate(run)
    ordered = [sorted(zip(own, s, strict=True), key=lambda row: str(row[0]), reverse=True) for own, s in zip(lists, scores, strict=True)]  # fmt: skip
    found = ours([[item for item, _ in own] for own in ordered], relevant, score=[s for own in ordered for _, s in own])
    for name, their in (("ndcg@3", "ndcg_cut_3"), ("recall@3", "recall_3")):
        np.testing.assert_allclose(found[name], [theirs[str(u)][their] for u in range(len(lists))], atol=1e-12)
    as_given = ours(lists, relevant, score=[s for own in scores for s in own])
    assert not np.allclose(as_given["ndcg@3"], found["ndcg@3"])  # so that the rule counts


@pytest.mark.parametrize("kind", ["coverage", "gini"])
def test_coverage_and_gini_are_recboles_formulas(kind):
    """recbole.evaluator.metrics: ItemCoverage and GiniIndex of the ids of all lists."""
    from fastgcn_rec.ranking import list_metrics

    lists, _ = others.cases()
    flat = [item for own in lists for item in own]
    counts = sorted(flat.count(item) for item in set(flat))
    zeros = others.N_ITEMS - len(counts)
    gini = sum((2 * (zeros + n) - others.N_ITEMS - 1) * count for n, count in enumerate(counts, 1)) / len(flat)
    theirs = {"coverage": len(set(flat)) / others.N_ITEMS, "gini": gini / others.N_ITEMS}
    shown = np.bincount(flat, minlength=others.N_ITEMS)
    assert list_metrics(shown, np.ones(others.N_ITEMS), [kind])[kind] == pytest.approx(theirs[kind], abs=1e-12)
