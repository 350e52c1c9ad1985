"""Users shared out among ranks: the same results as in one process, to the bit."""

import contextlib
import errno
import io
import re
import signal
import sys

import numpy as np
import pytest
import ranks
import torch
from every_vectors import ByScore

from fastgcn_rec import (
    MF,
    Graph,
    ItemKNN,
    LightGCN,
    Popularity,
    Recommendations,
    TwoStage,
    Vectors,
    evaluate,
    write_recommendations,
    write_vectors,
)
from fastgcn_rec.core.world import World
from fastgcn_rec.data import synthetic_interactions
from fastgcn_rec.ranking.metrics import METRICS
from fastgcn_rec.system import stopping


def data():
    return synthetic_interactions(97, 60, 900, dim=4, seed=3)


class Mixed:
    """Scores that depend on who is scored beside a user, as a product's bits may."""

    def __init__(self, of):
        self.n_items, self.graph = of.n_items, of.graph()

    def scorer(self):
        items = torch.arange(self.n_items)
        return lambda users: (((users[:, None] + 3) * (items + 7) + users.sum()) % 101).float()


MODELS = {
    "vectors": lambda of: LightGCN(of, 8, 2),
    "cosine": lambda of: LightGCN(of, 8, 2, similarity="cosine"),
    "popularity": lambda of: LightGCN(of, 8, 2, similarity="cosine", popularity=0.1),
    "neighbours": ItemKNN,
    "scores of blocks": Mixed,
    "matrices": lambda of: Vectors(*(torch.randn(n, 5, generator=torch.Generator().manual_seed(n)) for n in (97, 60))),
    "lists": lambda of: Recommendations(
        of, of.user_ids[::-1].repeat(9), np.arange(9 * 97) % 60, rank=np.arange(9 * 97), invalid="drop"
    ),
    "two stages": lambda of: TwoStage(MF(of.split_valid(0.5)[0], 8), ByScore(), n_candidates=30, use_ppr=False).fit(of),
}


def evaluated(world, name, options):
    own = data()
    return evaluate(MODELS[name](own), own, world=world, **options)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [2, 3])
def test_ranks_evaluate_as_one_process_does(name, size):
    options = {"ks": (1, 5, 70), "metrics": METRICS, "degrees": (8, 12), "resamples": 20, "batch_users": 17}
    options |= {"groups": ("activity", "popularity"), "vectors": np.arange(180.0).reshape(60, 3) % 7}
    expected = evaluated(None, name, options)
    assert 0 < expected["recall@5"] < expected["recall@70"]
    for found in ranks.on_ranks(size, evaluated, name, options):
        assert bits(found) == bits(expected)


def bits(metrics):
    return {name: np.float64(value).tobytes() for name, value in metrics.items()}


def few(world):
    """One user and an item for three ranks, and nobody for them."""
    one, nobody = Graph.from_edges([1], [0], 3, 2), Graph.from_edges([], [], 3, 2)
    return [evaluate((np.eye(3)[:, :2], np.eye(2)), test, nobody, ks=1, world=world) for test in (one, nobody)]


def test_more_ranks_than_users():
    for one, nobody in ranks.on_ranks(3, few):
        assert (one["recall@1"], one["n_users_evaluated"], nobody["n_users_evaluated"]) == (0.0, 1, 0)
        assert np.isnan(nobody["recall@1"])


def unlike(world, what):
    own = data()
    scores = torch.rand(own.n_users, own.n_items)
    if world.rank == 1 and what == "a score":
        scores = scores[:, 1:]

    def score(users):
        if world.rank == 1 and what == "a signal":
            signal.raise_signal(signal.SIGTERM)
        return scores[users]

    differs = world.rank == 1
    ks, batch_users = 11 if differs and what == "a cut-off" else 10, 9 if differs and what == "a block" else 8
    model = Popularity(own) if differs and what == "a model" else score
    with stopping.deferred() if what == "a signal" else contextlib.nullcontext():
        evaluate(model, own, ks=ks, batch_users=batch_users, world=world)


@pytest.mark.parametrize(
    ("what", "kind", "says"),
    [
        ("a score", ValueError, r"the scorer must return scores .* \(on rank 1\)"),
        ("a cut-off", ValueError, r"evaluate: all ranks must have the same ks, and rank 1 has \[11\], rank 0 \[10\]"),
        ("a block", ValueError, r"all ranks must have the same batch_users, and rank 1 has 9, rank 0 8"),
        ("a model", ValueError, r"all ranks must have the same model, and rank 1 has 'Popularity', rank 0 'Scores'"),
        ("a signal", stopping.Signalled, r"interrupted by SIGTERM \(on rank 1\)"),
    ],
)
def test_what_one_rank_cannot_do_ends_all_with_its_error(what, kind, says):
    for error in ranks.outcomes(3, unlike, what):
        assert type(error) is kind
        assert re.search(says, str(error), re.S)
        assert getattr(error, "signal", signal.SIGTERM) == signal.SIGTERM


def test_a_world_is_asked_for():
    with pytest.raises(TypeError, match=r"evaluate: world must be a World, such as World.current\(\), got int"):
        evaluate(Popularity(data()), data(), world=2)


# --- models that ranks share out by columns ---------------------------------------------------------------------------

SHARED = {
    "MF": lambda of, world: MF(of, 40, seed=3, world=world),
    "MF by cosine": lambda of, world: MF(of, 40, seed=3, similarity="cosine", world=world),
    "LightGCN": lambda of, world: LightGCN(of, 49, 2, world=world),
    "LightGCN by cosine": lambda of, world: LightGCN(of, 49, 1, similarity="cosine", world=world),
    "LightGCN without layers": lambda of, world: LightGCN(of, 40, 0, world=world),
    "MF and popularity": lambda of, world: MF(of, 40, seed=3, popularity=0.02, world=world),
    "LightGCN by cosine and popularity": lambda of, world: LightGCN(
        of, 49, 1, similarity="cosine", popularity=0.1, world=world
    ),
}


def with_strangers():
    """Edges, of which some users and items have none, and others that are to be found."""
    own = data()
    users, items = (torch.from_numpy(side).long() for side in (own.train.users, own.train.items))
    known = (users % 7 != 3) & (items % 9 != 4)
    graph = Graph.from_edges(users[known], items[known], own.n_users, own.n_items)
    return graph, Graph.from_edges(users[~known], items[~known], own.n_users, own.n_items)


def shared_out(world, name, pieces):
    """All that such a model says of its users."""
    if pieces:  # tables that go in many pieces
        sys.modules["fastgcn_rec.core.columns"]._AT_ONCE = 700
    graph, hidden = with_strangers()
    model = SHARED[name](graph, world)
    assert (model.columns is None) == (world is None)
    users = np.array([9, 3, 9, 90])
    allowed, kept = [[1, 2, 50], [4], [], [0, 59]], [[5, 6], [], [0], [1]]
    return {
        "metrics": list(evaluate(model, hidden, ks=(1, 7), metrics=METRICS, resamples=9).values()),
        "by graph": list(evaluate(model, graph, hidden, ks=70).values()),
        "vectors": [t.numpy() for t in model.node_vectors()],
        "lists": model.recommend(users, 12),
        "few": model.recommend(users, 3, items=allowed),
        "less": model.recommend(users, 5, exclude=kept, exclude_seen=False),
        "items": model.similar_items([4, 1], 6),
        "new": model.recommend_new([[1, 2], [], [4]], 9),
        "folded": [model.fold_in_items([[5], [3, 8]]).numpy()],
    }


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize(("size", "pieces"), [(2, False), (3, True)])
def test_a_model_shared_out_by_columns_says_what_the_whole_one_does(name, size, pieces):
    expected = shared_out(None, name, False)
    for found in ranks.on_ranks(size, shared_out, name, pieces):
        for what, values in expected.items():
            for a, b in zip(values, found[what], strict=True):
                assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), what


def with_another_world(world):
    evaluate(MF(data(), 40, world=world), data(), world=World())


def test_another_world_than_the_models_is_refused():
    for error in ranks.outcomes(2, with_another_world):
        assert isinstance(error, ValueError)
        assert "evaluate: world has 1 ranks, and others, 2, share the MF out; leave world out" in str(error)


# --- files ------------------------------------------------------------------------------------------------------------

ASKED = {
    "all": lambda: {},
    "some, twice": lambda: {"users": [5, 90, 5, 3, 17, 8, 22], "exclude": [[1, 2], [], [0], [5], [], [], [3]]},
    "nobody": lambda: {"users": []},
    "a stream": lambda: {"users": iter([[3, 9], 4, [90, 3]]), "items": [1, 2, 3, 4, 40], "exclude_seen": False},
    "lines": lambda: {"users": io.StringIO("".join(f"{user}\n" for user in range(0, 97, 3)))},
}
WRITERS = {
    **SHARED,
    "Popularity": lambda of, world: Popularity(of),
    "lists": lambda of: Recommendations(
        of, of.user_ids[::-1].repeat(9), np.arange(9 * 97) % 60, rank=np.arange(9 * 97), invalid="drop"
    ),
    "two stages": lambda of, world: MODELS["two stages"](data()),
}


def written(world, name, folder, suffix, shared):
    """The number of recommendations in a file for each way to ask for users."""
    model = WRITERS[name](with_strangers()[0], world if shared else None)
    given = {} if shared else {"world": world}
    numbers = {}
    for asked, options in ASKED.items():
        more = options()
        if world is not None and not world.first and asked == "a stream":
            more["users"] = iter([])  # rank 0's is read
        path = f"{folder}/{asked}{suffix}"
        numbers[asked] = write_recommendations(model, path, k=6, block_users=5, progress=False, **more, **given)
    return numbers


@pytest.mark.parametrize(
    ("name", "suffix", "shared"),
    [
        ("LightGCN", ".csv", False),
        ("LightGCN by cosine", ".jsonl.gz", True),
        ("MF", ".csv", True),
        ("two stages", ".parquet", False),
    ],
)
def test_a_file_by_ranks_is_one_processs_byte_for_byte(name, suffix, shared, tmp_path):
    one, several = tmp_path / "one", tmp_path / "several"
    numbers = written(None, name, one, suffix, shared)
    assert [asked for asked, n in numbers.items() if not n] == ["nobody"]
    assert ranks.on_ranks(3, written, name, several, suffix, shared) == [numbers] * 3
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: path.read_bytes() for path in several.iterdir()
    }


class Full(io.BytesIO):
    def write(self, part):
        if self.tell() > 200:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(part)


ERRORS = {
    "a full disk": (OSError, "No space left"),
    "a folder": (IsADirectoryError, "is a folder"),
    "another k": (ValueError, "write_recommendations: all ranks must have the same k, and rank 2 has 3, rank 0 20"),
    "a stranger": (ValueError, "1000"),
    "no numbers": (ValueError, r"users: line 3 must be a user id.*'three' \(on rank 0\)"),
    "a list": (TypeError, r"not callable \(on rank 1\)"),
}


def ill_written(world, folder, name):
    found = {}
    for what in ERRORS:
        model = WRITERS[name](with_strangers()[0], world)
        options = {"path": Full(), "format": "csv"} if what == "a full disk" else {"path": f"{folder}/lists.csv"}
        if what == "a folder":
            options["path"] = f"{folder}/a.csv"
        if what == "another k" and world.rank == 2:
            options["k"] = 3
        if what == "a stranger":
            options["users"] = iter([1, 2, 3, 1000 if world.first else 4])
        if what == "no numbers":
            options["users"] = io.StringIO("1\n2\nthree\n")
        if what == "a list" and world.rank == 1:
            model.places = None
        try:
            write_recommendations(model, progress=False, block_users=2, world=world, **options)
        except Exception as error:
            found[what] = error
    world.barrier()
    return found


@pytest.mark.parametrize("name", ["MF", "Popularity"])
def test_a_file_that_cannot_be_made_is_told_to_all_ranks(name, tmp_path):
    (tmp_path / "a.csv").mkdir()
    for found in ranks.on_ranks(3, ill_written, tmp_path, name):
        for what, (kind, says) in ERRORS.items():
            if (name, what) != ("MF", "a list"):  # another object makes that
                assert isinstance(found.get(what), kind), what
                assert re.search(says, str(found[what]))
    assert {path.name for path in tmp_path.iterdir()} <= {"a.csv", "lists.csv"}


def vectors_written(world, folder):
    model = SHARED["LightGCN by cosine"](with_strangers()[0], world)
    name = f"{folder}/{0 if world is None else 1}"
    return write_vectors(model, name + ".npz"), write_vectors(model, name + ".parquet", "users")


def test_vectors_of_a_model_shared_out_are_written_by_rank_0(tmp_path):
    sizes = vectors_written(None, tmp_path)
    assert ranks.on_ranks(2, vectors_written, tmp_path) == [sizes] * 2
    for suffix in (".npz", ".parquet"):
        assert (tmp_path / f"0{suffix}").read_bytes() == (tmp_path / f"1{suffix}").read_bytes()
