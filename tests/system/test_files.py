"""Files are written as the system expects: modes, links, left-overs, errors."""

import errno
import os
import signal
import stat
import time
import warnings

import numpy as np
import pytest
import torch

from fastgcn_rec import Graph, Popularity
from fastgcn_rec.algorithms.pagerank import PprRanks
from fastgcn_rec.models import LightGCN, Recommender
from fastgcn_rec.ranking.export import write_recommendations, write_vectors
from fastgcn_rec.system.files import write_atomically

GRAPH = Graph.from_edges([0, 0, 1, 2], [0, 1, 1, 2])


def put(path, content=b"new"):
    write_atomically(path, lambda file: file.write(content))


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def never(file):
    raise AssertionError("nothing is to be written")


@pytest.fixture
def umask():
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002, 0o000])
def test_the_umask_holds_for_a_new_file(tmp_path, umask, mask):
    umask(mask)
    put(tmp_path / "new" / "file")
    assert mode_of(tmp_path / "new" / "file") == 0o666 & ~mask
    assert mode_of(tmp_path / "new") == 0o777 & ~mask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o664, 0o666, 0o755])
@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_a_replaced_file_keeps_its_mode(tmp_path, umask, mode, mask):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    umask(mask)
    put(path)
    assert (mode_of(path), path.read_bytes()) == (mode, b"new")


def test_what_is_being_written_is_no_more_open_than_what_it_replaces(tmp_path, umask):
    path = tmp_path / "file"
    path.touch(0o600)
    umask(0)
    seen = []
    write_atomically(path, lambda file: seen.append(stat.S_IMODE(os.fstat(file.fileno()).st_mode)))
    assert seen == [0o600]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives a file away")
def test_a_replaced_file_keeps_its_owner(tmp_path):
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o640)
    os.chown(path, 1234, 4321)
    put(path)
    assert (path.stat().st_uid, path.stat().st_gid, mode_of(path)) == (1234, 4321, 0o640)


def test_another_group_gets_no_more_than_everybody(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o664)
    real = os.stat_result

    def other_group(handle):
        found = list(os.stat(f"/proc/self/fd/{handle}"))
        found[5] += 1
        return real(found)

    monkeypatch.setattr("fastgcn_rec.system.files.os.fstat", other_group)
    monkeypatch.setattr("fastgcn_rec.system.files.os.fchown", refuse)
    put(path)
    assert mode_of(path) == 0o644


def refuse(*args):
    raise PermissionError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("exists", [False, True])
def test_a_place_that_refuses_modes_owners_and_locks_is_written(tmp_path, monkeypatch, exists):
    path = tmp_path / "file"
    if exists:
        path.touch(0o640)
        path.chmod(0o606)

    def no_locks(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    for name, function in {
        "os.fchmod": refuse,
        "os.chmod": refuse,
        "os.fchown": refuse,
        "fcntl.flock": no_locks,
    }.items():
        monkeypatch.setattr(f"fastgcn_rec.system.files.{name}", function)
    put(path)
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("link_to", ["{}/real/file", "real/file", "real/second"])
def test_a_symlink_stays_and_its_target_is_written(tmp_path, there, link_to):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "second").symlink_to("file")
    if there:
        (tmp_path / "real" / "file").write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(link_to.format(tmp_path))
    put(link)
    assert link.is_symlink()
    assert (tmp_path / "real" / "second").is_symlink()
    assert (tmp_path / "real" / "file").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]
    assert sorted(os.listdir(tmp_path / "real")) == ["file", "second"]


def kinds_of_targets(folder):
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    (folder / "file").touch()
    (folder / "folder").mkdir()
    (folder / "to_folder").symlink_to("folder")
    return {
        "pipe": (ValueError, "is a FIFO"),
        "loop": (OSError, "loop"),
        "folder": (IsADirectoryError, "is a folder; name a file in it"),
        "to_folder": (IsADirectoryError, "to_folder"),
        "file/x/y": (NotADirectoryError, "is a file"),
        "/dev/null": (ValueError, "/dev/null is a device"),
    }


def test_what_is_no_regular_file_is_refused_before_any_work(tmp_path, monkeypatch):
    model = LightGCN(GRAPH, 4, 1)
    for name, (kind, words) in kinds_of_targets(tmp_path).items():
        with pytest.raises(kind, match=words):
            write_atomically(tmp_path / name, never)
        with pytest.raises(kind, match=words):
            model.save(tmp_path / name)
    (tmp_path / "v.npz").mkdir()
    (tmp_path / "r.csv").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(Recommender, "recommend", never)
        patched.setattr(LightGCN, "get_embedding", never)
        with pytest.raises(IsADirectoryError, match=r"r\.csv"):
            write_recommendations(model, tmp_path / "r.csv", progress=False)
        with pytest.raises(IsADirectoryError, match=r"v\.npz"):
            write_vectors(model, tmp_path / "v.npz")
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_protected_files_and_folders_are_refused_before_any_work(tmp_path, monkeypatch):
    def allowed(path, how, plain=os.access):  # root may write everywhere
        return how & os.W_OK == 0 or (plain(path, how) and bool(os.stat(path).st_mode & 0o200))

    monkeypatch.setattr("fastgcn_rec.system.files.os.access", allowed)
    (tmp_path / "protected").touch(0o444)
    with pytest.raises(PermissionError, match=r"protected against writing.*protected"):
        write_atomically(tmp_path / "protected", never)
    (tmp_path / "folder").mkdir(0o555)
    for name in ("new", "deep/new"):
        with pytest.raises(PermissionError, match=r"no file may be made.*folder"):
            write_atomically(tmp_path / "folder" / name, never)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), OSError("went wrong")])
@pytest.mark.parametrize("call", ["os.fsync", "os.open", "os.replace", "in between"])
def test_an_error_of_the_system_names_the_file_and_leaves_the_old_one(tmp_path, monkeypatch, error, call):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*args, **options):
        raise error

    with monkeypatch.context() as patched:
        if call != "in between":
            patched.setattr(f"fastgcn_rec.system.files.{call}", fail)
        with pytest.raises(OSError, match=f"{error.strerror or error}.*{path}|{path}.*{error}") as caught:
            write_atomically(path, fail if call == "in between" else lambda file: file.write(b"new"))
    assert caught.value.errno == error.errno
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("name", ["a" * 255, "ü" * 127, "x.y" * 70])
def test_a_name_as_long_as_the_system_takes(tmp_path, name):
    put(tmp_path / name)
    assert os.listdir(tmp_path) == [name]


def left_over(path, number):
    """What a writer of ``path`` leaves that is killed in the middle."""
    child = os.fork()
    if child == 0:
        try:
            if number != signal.SIGKILL:
                signal.signal(number, signal.SIG_DFL)
            write_atomically(path, lambda file: (file.write(b"half"), file.flush(), os.kill(os.getpid(), number)))
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == number


def hidden(folder):
    return sorted(name for name in os.listdir(folder) if name.startswith("."))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_next_write_removes_what_killed_writers_of_the_file_left(tmp_path, number):
    for name in ("a", "a", "a.b", "b"):
        left_over(tmp_path / name, number)
    assert len(hidden(tmp_path)) == 3  # the second writer of "a" removed what the first had left
    put(tmp_path / "a")
    assert [name.split(".")[1] for name in hidden(tmp_path)] == ["a", "b"]
    put(tmp_path / "a.b")
    put(tmp_path / "b")
    assert sorted(os.listdir(tmp_path)) == ["a", "a.b", "b"]


def test_files_of_others_that_look_alike_stay(tmp_path):
    names = [
        ".a.txt",
        ".a.0123abcd-0123456789abcdef.part.old",
        ".a.part",
        ".ab.0123abcd-0123456789abcdef.part",
        "a.part",
    ]
    for name in names:
        (tmp_path / name).touch()
    put(tmp_path / "a")
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "a"])


def test_a_file_that_somebody_writes_is_not_removed(tmp_path):
    path, (ready, tell), (wait, go) = tmp_path / "file", os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            write_atomically(path, lambda file: (file.write(b"slow"), os.write(tell, b"x"), os.read(wait, 1)))
        finally:
            os._exit(path.read_bytes() != b"slow")
    os.read(ready, 1)
    put(path, b"fast")
    assert path.read_bytes() == b"fast"
    assert len(hidden(tmp_path)) == 1
    os.write(go, b"x")
    assert os.waitpid(child, 0)[1] == 0
    assert path.read_bytes() == b"slow"
    assert hidden(tmp_path) == []


def test_two_writers_in_one_process_do_not_remove_each_other(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, lambda file: (put(path, b"inner"), file.write(b"outer")))
    assert path.read_bytes() == b"outer"
    assert hidden(tmp_path) == []


@pytest.mark.parametrize(("age", "stays"), [(3600, True), (3 * 86_400, False)])
def test_what_another_machine_left_is_removed_after_a_day(tmp_path, monkeypatch, age, stays):
    with monkeypatch.context() as patched:
        patched.setattr("socket.gethostname", lambda: "elsewhere")
        left_over(tmp_path / "file", signal.SIGKILL)
    (name,) = hidden(tmp_path)
    os.utime(tmp_path / name, (time.time() - age,) * 2)
    put(tmp_path / "file")
    assert hidden(tmp_path) == ([name] if stays else [])


def test_a_folder_that_cannot_be_listed_is_written(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("fastgcn_rec.system.files.os.listdir", refuse)
        put(tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"]


def test_a_sweep_between_making_and_locking_costs_a_second_name(tmp_path, monkeypatch):
    import fcntl

    plain_lock, first = fcntl.flock, []

    def swept(handle, how):
        if not first:  # the other one's sweep comes before the lock
            first.append(os.readlink(f"/proc/self/fd/{handle}"))
            os.unlink(first[0])
        return plain_lock(handle, how)

    monkeypatch.setattr("fastgcn_rec.system.files.fcntl.flock", swept)
    put(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_ranks_that_cannot_be_kept_are_still_there(tmp_path, monkeypatch):
    want = PprRanks.build(GRAPH, lo=0, hi=2, progress=False).lists
    (tmp_path / "file").touch()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = PprRanks.build(GRAPH, lo=0, hi=2, progress=False, cache_dir=tmp_path / "file")
    assert torch.equal(found.lists, want)
    assert ["made anew" in str(w.message) for w in seen] == [True, False]  # what is there cannot be read either
    assert "not kept for the next time" in str(seen[1].message)

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("fastgcn_rec.system.files.os.fsync", full)
    with pytest.warns(UserWarning, match=r"No space left on device: '.*ppr-ranks-"):
        found = PprRanks.build(GRAPH, lo=0, hi=2, progress=False, cache_dir=tmp_path)
    assert torch.equal(found.lists, want)


@pytest.mark.parametrize("name", ["model.npz", "metrics.json", "curves.png"])
def test_results_that_cannot_be_written_are_noticed_before_any_work(tmp_path, name):
    from fastgcn_rec.experiments.runs import make_and_write, train_and_write

    (tmp_path / name).mkdir()
    for run in (make_and_write, train_and_write):
        with pytest.raises(IsADirectoryError, match=name):
            run(None, None, None, tmp_path) if run is train_and_write else run(None, None, tmp_path)


def test_a_comparison_that_cannot_be_written_is_noticed_before_any_work(tmp_path):
    from fastgcn_rec.experiments.compare import compare

    (tmp_path / "comparison.png").mkdir()
    with pytest.raises(IsADirectoryError, match=r"comparison\.png"):
        compare("ml-100k", ["popularity"], tmp_path)


def test_a_checkpoint_that_cannot_be_written_is_noticed_before_training(tmp_path):
    from fastgcn_rec import fit
    from fastgcn_rec.data import synthetic_interactions

    data = synthetic_interactions(30, 40, 200)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        fit(LightGCN(data, 4, 1), data, epochs=1, progress=False, checkpoint=tmp_path)


def test_no_texts_are_texts_in_parquet_and_long_ones_are_refused_in_npz(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: an extra")
    model = Popularity(GRAPH)
    model.user_ids = np.array(["a", "b", "c"], object)
    write_recommendations(model, tmp_path / "r.parquet", model.user_ids[:0], progress=False)
    assert str(parquet.read_schema(tmp_path / "r.parquet").field("user").type) == "string"
    vectors = LightGCN(GRAPH, 4, 1)
    vectors.item_ids = np.array(["a", "b\0", "c"], object)
    with pytest.raises(ValueError, match=r"drops the NUL.* take a \.parquet"):
        write_vectors(vectors, tmp_path / "v.npz")
    vectors.item_ids = np.array(["a", "b" * (1 << 27), "c"], object)
    with pytest.raises(ValueError, match=r"MiB in an \.npz; take a \.parquet"):
        write_vectors(vectors, tmp_path / "v.npz")
    vectors.item_ids = np.array(["a", "bb", ""], object)
    write_vectors(vectors, tmp_path / "v.npz")
    assert np.load(tmp_path / "v.npz")["ids"].tolist() == ["a", "bb", ""]
