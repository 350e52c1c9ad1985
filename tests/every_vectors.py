"""Vectors of every origin that stand where a model is taken, and the best items by NumPy alone."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from fastgcn_rec import Vectors

K = 7


class ByScore:
    def fit(self, x, y): ...

    def predict(self, x):
        return x[:, 0]


def factors(data, dim=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((data.n_users, dim)), rng.standard_normal((data.n_items, dim))


def of_implicit(data, kind):
    pytest.importorskip("implicit", reason="an extra")
    from implicit.cpu import als, bpr, lmf
    from threadpoolctl import threadpool_limits

    makers = {
        "als": als.AlternatingLeastSquares,
        "bpr": bpr.BayesianPersonalizedRanking,
        "lmf": lmf.LogisticMatrixFactorization,
    }
    with threadpool_limits(1, "blas"):
        model = makers[kind](factors=6, iterations=5, random_state=0, num_threads=1)
        model.fit(sp.csr_matrix(data.graph().to_scipy()), show_progress=False)
    return model


def of_geometric(data):
    kind = pytest.importorskip("torch_geometric.nn", reason="an extra").LightGCN
    torch.manual_seed(0)
    return kind(data.n_users + data.n_items, 6, 2)


def both_ways(graph):
    users, items = graph.edges()
    items = items + graph.n_users
    return torch.stack([torch.cat([users, items]), torch.cat([items, users])])


def embedded(data):
    model = of_geometric(data)
    z = model.get_embedding(both_ways(data.graph())).detach().double().numpy()
    return model, z[: data.n_users], z[data.n_users :]


def own_class(data):
    users, items = factors(data)
    tensors = (torch.from_numpy(users).float(), torch.from_numpy(items).float(), "dot")
    return SimpleNamespace(vectors=lambda: tensors), users, items


class Shared:
    """An array that hands itself over by DLPack alone."""

    def __init__(self, array):
        self.tensor = torch.from_numpy(array)

    def __dlpack__(self, **options):
        return self.tensor.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()


def pair(data, as_given=lambda array: array, as_model=tuple):
    users, items = factors(data)
    return as_model([as_given(users), as_given(items)]), users, items


class Matrix:
    """implicit's factors on a GPU have no more than this."""

    def __init__(self, array):
        self.array = array

    def to_numpy(self):
        return self.array.astype(np.float32)


def on_a_gpu(arrays):
    users, items = map(Matrix, arrays)
    return SimpleNamespace(user_factors=users, item_factors=items)


def fitted(data, kind):
    model = of_implicit(data, kind)
    return model, np.float64(model.user_factors), np.float64(model.item_factors)


# by name: data -> (what stands where a model is taken, users [U, dim], items [I, dim] whose inner products are its scores)
KINDS = {
    "numpy": pair,
    "numpy, float32": lambda data: pair(data, np.float32),
    "torch": lambda data: pair(data, torch.from_numpy),
    "dlpack": lambda data: pair(data, Shared),
    "lists": lambda data: pair(data, np.ndarray.tolist, list),
    "Vectors": lambda data: pair(data, as_model=lambda both: Vectors(*both)),
    "vectors()": own_class,
    "implicit als": lambda data: fitted(data, "als"),
    "implicit bpr": lambda data: fitted(data, "bpr"),
    "implicit lmf": lambda data: fitted(data, "lmf"),
    "implicit, on a GPU": lambda data: pair(data, as_model=on_a_gpu),
    "torch_geometric": embedded,
}


def best(scores, seen, k=K):
    """The k best of each row of scores, no ties among them, by NumPy alone."""
    left = np.where(seen, -np.inf, scores)
    return np.argsort(-left, 1)[:, :k]


def seen_of(data):
    return data.graph().to_scipy().toarray() > 0
