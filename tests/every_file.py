"""A file of each kind that is read again: its bytes, and how it is read and used."""

import dataclasses
import functools
import importlib.util
import io
import os
import pathlib
import random
import tempfile
import warnings

import numpy as np
import pytest
import torch
from every_model import EVERY
from support import FEW, random_graph

import fastgcn_rec as fgr
from fastgcn_rec import Graph, Index
from fastgcn_rec.algorithms.pagerank import PprRanks
from fastgcn_rec.features import Categorical, Features, Numeric, Text, Vector
from fastgcn_rec.models import Recommender
from fastgcn_rec.system.archives import load_arrays, load_meta, save_arrays
from fastgcn_rec.system.shards import Block, Collector, write_shard

CASES = 6 if FEW else 25
META = "meta.json"
GRAPH = random_graph(12, 10, 40)
N_USERS, N_ITEMS = GRAPH.n_users, GRAPH.n_items


def weighted():
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(N_USERS), GRAPH.user_degree.numpy())
    return Graph.from_edges(users, GRAPH.indices.numpy(), N_USERS, N_ITEMS, rng.random(GRAPH.n_edges) + 0.1)


def with_texts():
    model = fgr.LightGCN(GRAPH, 4, 2)
    model.user_ids = np.array([f"u{n}" for n in range(N_USERS)], object)
    model.item_ids = np.array([f"ü{n}\0" for n in range(N_ITEMS)], object)
    return model


def pinsage():
    rng = np.random.default_rng(0)
    columns = {"id": Categorical(), "price": Numeric(), "title": Text(8), "picture": Vector()}
    info = {"id": [str(n) for n in range(N_ITEMS)], "price": rng.random(N_ITEMS), "title": ["red mug"] * N_ITEMS}
    info["picture"] = rng.random((N_ITEMS, 3))
    users = {"user_features": Features({"age": Numeric()}), "user_info": {"age": rng.random(N_USERS)}}
    options = {"embedding_dim": 4, "hidden_dim": 4, "n_walks": 20, "num_layers": 1}
    return fgr.PinSAGE(GRAPH, Features(columns), info, **users, **options)


def saved(thing):
    file = io.BytesIO()
    thing.save(file)
    return file.getvalue()


def checkpoint():
    file = io.BytesIO()
    history = {"epochs": [{"epoch": 1.0, "loss": 0.5}], "best_metric": float("-inf")}
    meta = {"kind": "checkpoint", "format": 1, "step": 7, "history": history}
    save_arrays(file, meta, {"now.embedding.weight": np.ones((5, 2), np.float32), "exp_avg": np.zeros(3)})
    return file.getvalue()


SHARD = Block(((0, 3), (5, 7)), (0, 2))


@functools.cache
def shard():
    """(its bytes, what a manifest says of it)."""
    tables = {
        "now.embedding.weight": np.arange(10, dtype=np.float32).reshape(5, 2),
        "exp_avg": np.zeros((5, 2), np.float32),
    }
    with tempfile.TemporaryDirectory() as folder:
        named = write_shard(
            pathlib.Path(folder, "c.npz"), 1, 0, 1, {"kind": "checkpoint shard", "format": 1}, SHARD, tables
        )
        return pathlib.Path(folder, named.file).read_bytes(), named


def ranks(folder):
    return PprRanks.build(GRAPH, lo=1, hi=6, cache_dir=folder, progress=False)


@functools.cache
def ranks_file():
    with tempfile.TemporaryDirectory() as folder:
        ranks(folder)
        (name,) = os.listdir(folder)
        return pathlib.Path(folder, name).read_bytes()


# One of each class, which a new model joins by its line in every_model.py, and what else a file may hold.
MODELS = {kind: functools.partial(make, GRAPH) for kind, make in EVERY.items() if " " not in kind} | {
    "with texts": with_texts, "weighted": lambda: fgr.LightGCN(weighted(), 4, 1, learn_alpha=True), "with columns": pinsage,
}  # fmt: skip
VECTORS = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
INDEXES = {"exact": {"ids": [f"i{n}" for n in range(9)]}, "faiss": {}}
KINDS = [*MODELS, "exact", "faiss", "ranks", "checkpoint", "shard"]


@functools.cache
def content_of(kind):
    """The bytes of an undamaged file."""
    if kind == "faiss" and importlib.util.find_spec("faiss") is None:
        pytest.skip("needs faiss: an extra")
    if kind in MODELS:
        return saved(MODELS[kind]())
    if kind in INDEXES:
        return saved(Index.build(VECTORS, kind, **INDEXES[kind]))
    if kind == "shard":
        return shard()[0]
    return checkpoint() if kind == "checkpoint" else ranks_file()


def name_of(kind, tmp_path):
    if kind != "ranks":
        return tmp_path / f"{kind}.npz"
    if not list(tmp_path.iterdir()):
        ranks(tmp_path)
    return next(tmp_path.iterdir())


def read(kind, path):
    """What the file holds, in bytes, and a function that uses it. ValueError that names the file where it is refused."""
    if kind in MODELS:
        model = Recommender.load(path)
        return saved(model), lambda: model.recommend(model.user_ids[:3], 3)
    if kind in INDEXES:
        index = Index.load(path)
        return saved(index), lambda: index.search(VECTORS[:2, : index.vectors.shape[1]], 3)
    if kind == "checkpoint":
        meta, arrays = load_arrays(path, "checkpoint")
        file = io.BytesIO()
        save_arrays(file, meta, arrays)
        return file.getvalue(), lambda: None
    if kind == "shard":
        named = dataclasses.replace(shard()[1], file=path.name)
        others = dataclasses.replace(named, file="not read", block=Block(((3, 5),), (0, 2)))
        found = Collector(SHARD, (7, 2), {"now.embedding.weight": "float32", "exp_avg": "float32"})
        found.read(path.with_name("manifest.npz"), "checkpoint shard", [named, others])
        file = io.BytesIO()
        save_arrays(file, load_meta(path, "checkpoint shard"), found.tables)
        return file.getvalue(), lambda: None
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = ranks(path.parent)
    if seen:
        assert path.read_bytes() == ranks_file()  # made anew
        assert torch.equal(found.lists, ranks(None).lists)
        raise ValueError(str(seen[0].message))
    file = io.BytesIO()
    save_arrays(
        file, load_arrays(path, "ppr-ranks", 2)[0], {"lists": found.lists.numpy(), "counts": found.counts.numpy()}
    )
    return file.getvalue(), lambda: found.sample(torch.arange(N_USERS), 3, 0)


def try_to_read(kind, path, content):
    """("refused", None), or the bytes of what is there and a function that uses it."""
    path.write_bytes(content)
    try:
        return read(kind, path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017
        return "refused", None


def cases(kind, salt):
    for number in range(CASES):
        yield random.Random(f"{kind} {salt} {number}")
