"""Every model and every recipe: the same bits for any number of threads, on any processor.

A processor on which a library's sums happen to keep their order proves nothing for the next. So the first test looks at what torch
is asked to do: no sum is left to it whose order it may choose by the number of threads. A slow one runs everything at each instruction level.
"""

import ast
import contextlib
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support import as_a_program, on_the_cpu
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import fastgcn_rec
from fastgcn_rec import _C, MF, NGCF, FoldIn, LightGCN, PinSAGE, Recommender, TrainConfig, fit
from fastgcn_rec.core import elementwise as _elementwise
from fastgcn_rec.data import synthetic_interactions
from fastgcn_rec.experiments.recipes import RECIPES
from fastgcn_rec.features import Categorical, Features, Numeric

pytestmark = on_the_cpu
SHARED_OUT = 1 << 15  # elements from which on torch computes on several threads
# Each has tables of more than that, and more rows than a BLAS computes on one thread.
DATA = {"n_users": 700, "n_items": 600, "n_edges": 4000}


def pinsage(data):
    items, users = np.arange(data.n_items), np.arange(data.n_users)
    return PinSAGE(
        data,
        Features({"kind": Categorical(), "size": Numeric()}),
        {"kind": [f"kind {i % 7}" for i in items], "size": items / 3},
        user_features=Features({"group": Categorical()}),
        user_info={"group": [f"group {u % 5}" for u in users]},
        degree_power=0.3,
        n_walks=20,
    )


MODELS = {
    "MF": lambda data: MF(data),
    "LightGCN": lambda data: LightGCN(data, norm=(0.3, 0.45)),
    "LightGCN, learnt": lambda data: LightGCN(
        data, learn_alpha=True, edge_dropout=0.2, edge_dropout_norm="renormalise"
    ),
    "LightGCN, contrast": lambda data: LightGCN(data, num_layers=2, noise=0.1, contrast=0.1),
    "NGCF": lambda data: NGCF(data, num_layers=2, node_dropout=0.1),
    "NGCF, lecture": lambda data: NGCF(data, num_layers=2, form="lecture"),
    "PinSAGE": pinsage,
}
LOSSES = {
    "MF": {"loss": "softmax", "logq": 0.5, "sampler": "user"},
    "LightGCN": {"negatives": "uniform(2) + popularity(2, power=0.6) + dynamic(1)"},
    "NGCF": {"loss": "binary"},
    "NGCF, lecture": {"loss": "max_margin"},
    "PinSAGE": {"loss": "softmax", "logq": 1.0},
}
CASES = [*MODELS, *(f"recipe {name}" for name in RECIPES)]


def run(case, data):
    """What a training of two epochs, or the making of a model, and its rankings come to: arrays."""
    if case in MODELS:
        model, config = MODELS[case](data), TrainConfig(**LOSSES.get(case, {}))
    else:
        recipe = RECIPES[case.removeprefix("recipe ")]
        narrow = {k: min(v, 128) for k, v in recipe.model_options.items() if k == "embedding_dim"}
        model, config = recipe.make_model(data, **narrow), recipe.train
    kind = type(model)
    metrics = {}
    if config is not None:
        seen = fit(
            model,
            data,
            config,
            epochs=2,
            batch_size=512,
            eval_every=1,
            protocol="published",
            refit=False,
            progress=False,
        )
        metrics = seen.epochs[-1]
    results = [p.detach() for p in (*model.parameters(), *model.buffers())]
    results += model.recommend(data.user_ids, 10)
    results.append(model.scorer()(torch.arange(600)))
    results += model.recommend_new([data.item_ids[[n % 9, n % 31, n % 131]] for n in range(100)], 10)
    if kind in (MF, LightGCN):
        folded = FoldIn(model, calibrate=True)
        results += [folded.users(data.graph().to_scipy()[:300]), folded._scale["items"]]
    results.append([value for name, value in sorted(metrics.items()) if "second" not in name])
    return [np.asarray(r.numpy() if isinstance(r, torch.Tensor) else r) for r in results]


def digest(arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


def test_every_model_is_among_the_cases():
    models = {kind for kind in Recommender.registry.values() if kind.__module__.startswith("fastgcn_rec.")}
    named = {RECIPES[name].model for name in RECIPES} | {name.split(",")[0] for name in MODELS}
    assert named == {kind.__name__ for kind in models} - {
        "ItemItem",
        "Neighbours",
        "SparseItems",
    }  # what some have in common


# --- what is left to torch ------------------------------------------------------------------------------------------

PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "addbmm", "mv", "addmv", "addr", "dot", "vdot", "linear", "matmul", "einsum",
            "_embedding_bag", "_embedding_bag_forward_only"}  # fmt: skip
ADDING = {"index_add", "index_add_", "scatter_add", "scatter_add_", "index_put", "index_put_", "_index_put_impl_",
          "_unsafe_index_put"}  # fmt: skip
REDUCTIONS = {"sum", "mean", "prod", "norm", "linalg_vector_norm", "var", "std", "logsumexp"}
CURVES = {"pow", "pow_", "exp", "expm1", "log", "log2", "log10", "log1p", "sigmoid", "tanh", "log_sigmoid_forward", "softplus",
          "_softmax", "_log_softmax", "sin", "cos", "erf", "gelu", "silu"}  # fmt: skip


def left_to_chance(name, args, result):
    """Why the bits of this call of torch may depend on the number of threads, or None."""
    tensors = [t for t in tree_leaves(args) if isinstance(t, torch.Tensor)]
    floats = [t for t in tensors if t.is_floating_point()]
    largest = max((t.numel() for t in floats), default=0)
    if name in PRODUCTS and floats:
        return "is a product whose order of sums a BLAS chooses"
    if name.startswith(("linalg_", "_linalg_", "cholesky")) and name != "linalg_vector_norm":
        return "is left to LAPACK on several threads"
    if name in ADDING and floats and ("put" not in name or any(a is True for a in args)) and largest >= SHARED_OUT:
        return "adds in the order in which threads come"
    outputs = [t for t in tree_leaves(result) if isinstance(t, torch.Tensor)]
    if name in REDUCTIONS and largest >= SHARED_OUT and all(t.numel() == 1 for t in outputs):
        return "adds up shares of the threads"
    exact = name.startswith("pow") and any(
        e in (-2, -1, -0.5, 0.5, 1, 2, 3) for e in args[1:] if isinstance(e, float | int)
    )
    if name in CURVES and largest >= SHARED_OUT and not exact:
        return "computes the ends of a thread's share by another formula"
    return None


class Watch(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.found = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.namespace == "aten" and torch.get_num_threads() > 1:
            name = func.name().removeprefix("aten::").split(".")[0]
            reason = left_to_chance(name, args, result)
            if reason is not None:
                self.found.setdefault(f"{name} {reason}", [tuple(t.shape) for t in args if isinstance(t, torch.Tensor)])
        return result


@contextlib.contextmanager
def threads(count):
    """Several share out more than would pay."""
    before, grain = torch.get_num_threads(), _C.grain()
    torch.set_num_threads(count)
    _C.set_grain(1 << 16 if count == 1 else 1 << 12)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _C.set_grain(grain)


@pytest.mark.parametrize("case", CASES)
def test_no_sum_is_left_to_a_library_and_two_threads_give_the_bits_of_one(case):
    data = synthetic_interactions(**DATA)
    with threads(2), Watch() as watch:
        shared = run(case, data)
    assert not watch.found
    with threads(1):
        assert digest(run(case, data)) == digest(shared)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda x: x @ x.T, "BLAS"),
        (lambda x: torch.nn.functional.linear(x, x), "BLAS"),
        (lambda x: torch.linalg.cholesky(x.T @ x + torch.eye(64)), "LAPACK"),
        (lambda x: x.sum(), "shares"),
        (lambda x: x.norm(), "shares"),
        (lambda x: x.abs().pow(0.3), "formula"),
        (lambda x: x.exp(), "formula"),
        (lambda x: x.index_add(0, torch.zeros(600, dtype=torch.int64), x), "order in which threads"),
        (lambda x: x[torch.zeros(600, dtype=torch.int64)].backward(x), "order in which threads"),
    ],
)  # fmt: skip
def test_the_watch_sees(call, reason):
    with threads(2), Watch() as watch:
        call(torch.ones(600, 64, requires_grad=True))
    assert any(reason in found for found in watch.found), watch.found


def test_no_product_is_left_to_numpy():
    """``@`` and its kin are for SciPy's sparse matrices alone, whose products run on one thread; NumPy's go to a BLAS."""
    package = Path(fastgcn_rec.__file__).parent
    sparse = {
        "models/neighbours.py",
        "models/ease.py",
        "models/sparse_items.py",
        "ranking/content.py",
        "ops/reference.py",
    }
    banned = {"dot", "vdot", "matmul", "inner", "tensordot", "linalg"}
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            where = f"{file}:{getattr(node, 'lineno', 0)}"
            if file.relative_to(package).as_posix() not in sparse:
                assert not isinstance(node, ast.MatMult), f"{file} has a product by @"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np":
                assert node.attr not in banned, where
            if isinstance(node, ast.ImportFrom) and file.name != "reference.py":
                assert not (node.module or "").startswith("scipy.linalg"), where


# --- bits -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("level", _C.build_info()["isa_levels"])
def test_the_same_bits_for_any_number_of_threads_at_every_level(level):
    done = as_a_program(__file__, FASTGCN_REC_ISA=level)
    assert done.returncode == 0, done.stderr
    digests = json.loads(done.stdout.splitlines()[-1])
    assert list(digests) == CASES
    assert {case: found for case, found in digests.items() if len(set(found)) > 1} == {}


if __name__ == "__main__":
    data = synthetic_interactions(**DATA)
    digests = {}
    for case in CASES:
        digests[case] = []
        for count in (1, 2, 3):
            with threads(count):
                digests[case].append(digest(run(case, data)))
    print(json.dumps(digests))


def test_losses_of_scores_give_the_same_bits_for_any_number_of_threads():
    generator = torch.Generator().manual_seed(0)
    pos, neg = (torch.randn(300_001, generator=generator) for _ in range(2))
    label = (pos > neg).float()
    model, before, seen = MF(synthetic_interactions(50, 40, 400), 8), torch.get_num_threads(), set()
    try:
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            given = pos.clone().requires_grad_()
            losses = model.recommendation_loss(given, neg), model.link_pred_loss(given, label)
            grads = [torch.autograd.grad(loss, given)[0] for loss in losses]
            seen.add(b"".join(t.detach().numpy().tobytes() for t in (*losses, *grads)))
    finally:
        torch.set_num_threads(before)
    assert len(seen) == 1
    expected = torch.nn.functional.binary_cross_entropy_with_logits(pos.double(), label.double())
    assert losses[1].item() == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("n", [1, 1 << 14, (1 << 14) + 1])
def test_a_mean_in_pieces_is_the_mean(n):
    x = torch.arange(n, dtype=torch.float64)
    assert float(_elementwise.mean(torch.neg, x)) == pytest.approx(-(n - 1) / 2)
