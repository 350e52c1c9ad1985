"""Damaged, changed and foreign files of every kind end in a ValueError that names the file, or hold what was written: nothing else.

Three ways: bytes of the file ("raw"); content under the old checksum ("changed"), which is refused always; and content under a checksum of its own
("signed"), as a program could write it, which must be refused or be usable, and never reach C++ unchecked.
"""

import contextlib
import errno
import io
import json
import os
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
from every_file import KINDS, META, MODELS, cases, content_of, name_of, saved, try_to_read

import fastgcn_rec as fgr
from fastgcn_rec import Index
from fastgcn_rec.data import synthetic_interactions
from fastgcn_rec.models import Recommender
from fastgcn_rec.system.archives import load_arrays, save_arrays
from fastgcn_rec.system.npz import CHECKSUM, read_npz, write_npz


@pytest.fixture(scope="session")
def whole():
    return content_of


# --- bytes --------------------------------------------------------------------------------------------------------------


def damaged(content, rng):
    b, n = bytearray(content), len(content)
    at, size = rng.randrange(n), rng.randrange(1, 200)
    how = rng.choice(["byte", "byte", "bit", "bit", "four", "cut", "less", "more", "twice", "zeros", "swap", "end"])
    if how == "byte":
        b[at] = rng.randrange(256)
    elif how == "bit":
        b[at] ^= 1 << rng.randrange(8)
    elif how == "four":
        for _ in range(4):
            b[rng.randrange(n)] = rng.randrange(256)
    elif how == "cut":
        del b[at:]
    elif how == "less":
        del b[at : at + size]
    elif how == "more":
        b[at:at] = rng.randbytes(size)
    elif how == "twice":
        b[at:at] = b[at : at + size]
    elif how == "zeros":
        b[at : at + size] = bytes(len(b[at : at + size]))
    elif how == "swap":
        other = rng.randrange(n)
        b[at : at + size], b[other : other + size] = b[other : other + size], b[at : at + size]
    else:  # where a zip keeps its directory
        b[n - 1 - rng.randrange(min(n, 120))] = rng.randrange(256)
    return bytes(b)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_noticed(kind, whole, tmp_path):
    content, path = whole(kind), name_of(kind, tmp_path)
    assert try_to_read(kind, path, content)[0] == content
    for rng in cases(kind, "raw"):
        assert try_to_read(kind, path, damaged(content, rng))[0] in ("refused", content)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_that_are_not_of_the_archive_are_noticed_wherever_they_stand(kind, whole, tmp_path):
    content, path = whole(kind), name_of(kind, tmp_path)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        places = [0, *(info.header_offset for info in archive.infolist()[1:]), archive.start_dir, len(content)]
    for junk in (b"\0", b"junk", content[:100], content[-22:], content):
        for at in places:
            assert try_to_read(kind, path, content[:at] + junk + content[at:])[0] == "refused", (junk[:9], at)


def test_a_file_that_cannot_be_sought_while_it_is_written_is_read(tmp_path):
    class Pipe(io.RawIOBase):
        def __init__(self):
            self.content = b""

        def writable(self):
            return True

        def write(self, part):
            self.content += bytes(part)
            return len(part)

    pipe = Pipe()
    save_arrays(pipe, {"kind": "x", "format": 1}, {"a": np.arange(3), "ü": np.zeros(0)})
    assert load_arrays(io.BytesIO(pipe.content), "x")[1]["a"].tolist() == [0, 1, 2]
    for changed in (pipe.content + b"\0", b"\0" + pipe.content):
        with pytest.raises(ValueError, match=r"not written with it|damaged"):
            load_arrays(io.BytesIO(changed), "x")


# --- content ------------------------------------------------------------------------------------------------------------

JUNK = [None, -1, 0, 1, 7, 2**70, -(2**63), 1e308, float("nan"), 0.5, True, "x", "", [], {}, [1, 2], {"a": 1}, [[]]]
NUMBERS = {
    "f": [np.nan, np.inf, -np.inf, 1e30, -1.0, 1e-42],
    "i": [-1, 2**31 - 1, -(2**31), 10**6, 0, 5],
    "u": [0, 255, 7],
}
DTYPES = ["f8", "f4", "f2", "i8", "i4", "u8", "u1", "?", "i2"]


def members_of(content):
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def as_meta(value):
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def other_json(value, rng):
    if isinstance(value, (dict, list)) and value and rng.random() < 0.85:
        changed = dict(value) if isinstance(value, dict) else list(value)
        key = rng.choice(list(changed)) if isinstance(changed, dict) else rng.randrange(len(changed))
        how = rng.random()
        if how < 0.15:
            del changed[key]
        elif how < 0.3 and isinstance(changed, dict):
            changed[f"{key}x"] = changed[key] if how < 0.2 else changed.pop(key)
        else:
            changed[key] = other_json(value[key], rng)
        return changed
    return rng.choice(JUNK)


def changed(members, rng):
    """The members with one thing changed."""
    members = dict(members)
    arrays = [name for name in members if name not in (META, CHECKSUM)]
    name = rng.choice(arrays)
    array = members[name]
    how = rng.choice(
        ["json", "json", "json", "number", "number", "dtype", "shape", "drop", "extra", "rename", "exchange", "order"]
    )
    if how == "json":
        members[META] = as_meta(other_json(json.loads(members[META].tobytes()), rng))
    elif how == "number" and array.size:
        array = array.copy()
        for _ in range(rng.choice([1, 1, 3, array.size])):
            array.reshape(-1)[rng.randrange(array.size)] = rng.choice(NUMBERS[array.dtype.kind])
        members[name] = array
    elif how == "dtype":
        with np.errstate(invalid="ignore", over="ignore"):
            members[name] = array.astype(rng.choice([d for d in DTYPES if np.dtype(d) != array.dtype]))
    elif how == "shape":
        ways = [
            array[:-1],
            np.concatenate([array, array]),
            array[None],
            array[..., :-1],
            array[:1],
            array[:0],
            array.reshape(-1)[:1].squeeze(),
        ]
        members[name] = np.ascontiguousarray(rng.choice(ways)) if array.ndim else array[None]
    elif how == "drop":
        del members[name]
    elif how == "extra":
        members = {
            META: members[META],
            rng.choice(["state.more", "more", "../more", "a.text", "b.ends"]): array,
            **members,
        }
    elif how == "rename":
        members = {f"{key}x" if key == name else key: value for key, value in members.items()}
    elif how == "exchange":
        other = rng.choice(arrays)
        members[name], members[other] = members[other], members[name]
    elif array.ndim and array.size > 1:
        members[name] = np.ascontiguousarray(array[::-1])
    return members


def same(one, other):
    return list(one) == list(other) and all(
        one[n].dtype == other[n].dtype and one[n].shape == other[n].shape and one[n].tobytes() == other[n].tobytes()
        for n in one
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_under_the_old_checksum_is_refused(kind, whole, tmp_path):
    content, path = whole(kind), name_of(kind, tmp_path)
    members = members_of(content)
    for rng in cases(kind, "changed"):
        file, other = io.BytesIO(), changed(members, rng)
        np.savez(file, **other)
        if not same(members, other):
            assert try_to_read(kind, path, file.getvalue())[0] == "refused"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of what is computed with NaN and infinity
def test_a_change_with_a_checksum_of_its_own_is_refused_or_harmless(kind, whole, tmp_path):
    if kind == "faiss":
        pytest.skip("FAISS reads its part, of sources that are trusted")
    path = name_of(kind, tmp_path)
    members = dict(read_npz(io.BytesIO(whole(kind))))
    for rng in cases(kind, "signed"):
        for _ in range(2):
            file, other = io.BytesIO(), changed(members, rng)
            write_npz(file, other)
            held, use = try_to_read(kind, path, file.getvalue())
            if use is not None:
                assert same(dict(read_npz(io.BytesIO(held))), dict(read_npz(file)))
                with contextlib.suppress(ValueError, TypeError, IndexError):  # NaN among the scores and the like
                    use()


# --- files that a writer would have to mean ---------------------------------------------------------------------------


def archive(members, how=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", how) as out:
        warnings.simplefilter("ignore")  # names that are there twice
        for name, content in members:
            out.writestr(name, content)
    return file.getvalue()


def header(descr, shape, fortran="False"):
    text = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (10 + len(text)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


class Runs:
    def __reduce__(self):
        raise AssertionError("pickled code ran")


def crafted(content):
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        parts = [(info.filename, file.read(info)) for info in file.infolist()]
    victim = next(n for n, (name, _) in enumerate(parts) if name.startswith("state."))
    name, member = parts[victim]

    def instead(new):
        return archive([*parts[:victim], (name, new), *parts[victim + 1 :]])

    shapes = ["(1152921504606846976,)", "(1099511627776,)", "(4294967296, 64)", "(9223372036854775807, 2)", "(-1,)", "(2.5,)", "('a',)",
              "(1,)*99999999", "(True,)", "(0, 9223372036854775807)", "(" + "9" * 30 + ",)", "(" + "1, " * 100 + ")"]  # fmt: skip
    for shape in shapes:
        for descr in ("'<f4'", "'|u1'", "'|O'", "'<U999999999'", "[('a', '<f4')]", "'<f16'", "'|V0'"):
            yield f"{descr} {shape}", instead(header(descr, shape) + member[128:])
    yield "fortran", instead(member.replace(b"'fortran_order': False", b"'fortran_order': True "))
    for version in (b"\x00\x00", b"\x02\x00", b"\x03\x00", b"\xff\x01"):
        yield f"version {version!r}", instead(member[:6] + version + member[8:])
    for how in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield f"compressed {how}", archive(parts, how)
    yield "there twice", archive([*parts, parts[1]])
    yield "no array", archive([*parts[:1], ("README", b"text"), *parts[1:]])
    yield "no checksum", archive(parts[:-1])
    yield "other order", archive([*parts[1:-1], parts[0], parts[-1]])
    yield "nothing", archive([])
    yield "empty", b""
    yield "a pickle", b"\x80\x04cos\nsystem\n."
    yield "an .npy", member
    yield "deep JSON", archive([(parts[0][0], header("'|u1'", "(200000,)") + b"[" * 200_000), *parts[1:]])
    yield "a number for JSON", archive([(parts[0][0], header("'|u1'", "(1,)") + b"7"), *parts[1:]])
    encrypted = bytearray(content)
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    yield "encrypted", bytes(encrypted)


def test_crafted_files_are_refused_and_take_no_memory(whole, tmp_path):
    tracemalloc.start()
    try:
        for name, content in crafted(whole("MF")):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            assert try_to_read("MF", tmp_path / "m.npz", content)[0] == "refused", name
            assert tracemalloc.get_traced_memory()[1] - before < 8 << 20, name
    finally:
        tracemalloc.stop()


def test_data_in_the_place_of_a_model_are_told_from_a_damaged_one(tmp_path):
    path = tmp_path / "plays.csv"
    path.write_text("user,item\n1,2\n")
    with pytest.raises(
        ValueError,
        match=r"plays\.csv is not a file of fastgcn_rec.*it is no archive.*`fastgcn-rec train` makes a model",
    ):
        Recommender.load(path)


def test_a_member_that_swells_is_not_read(whole, tmp_path):
    with zipfile.ZipFile(io.BytesIO(whole("MF"))) as file:
        parts = [(info.filename, file.read(info)) for info in file.infolist()]
    swelling = header("'|u1'", "(100000000,)") + bytes(100_000_000)
    content = archive([*parts, ("extra.npy", swelling)], zipfile.ZIP_DEFLATED)
    assert len(content) < 1 << 20
    path = tmp_path / "m.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"m\.npz is not a file of fastgcn_rec.*compressed"):
        Recommender.load(path)


def test_files_of_another_kind_or_format_are_told_apart(whole, tmp_path):
    path = tmp_path / "m.npz"
    path.write_bytes(whole("exact"))
    with pytest.raises(ValueError, match=r"m\.npz holds a 'index', not a 'model'"):
        Recommender.load(path)
    for format in (2, 99, "1", None, 0):
        members = members_of(whole("MF"))
        members[META] = as_meta(json.loads(members[META].tobytes()) | {"format": format})
        np.savez(path, **members)
        with pytest.raises(
            ValueError, match=rf"m\.npz has format {format!r} of a model, and this version .* reads format 1"
        ):
            Recommender.load(path)
    members[META] = as_meta(json.loads(members_of(whole("MF"))[META].tobytes()) | {"class": "Later"})
    with open(path, "wb") as file:
        write_npz(file, {n: a for n, a in members.items() if n != CHECKSUM})
    with pytest.raises(ValueError, match=r"m\.npz holds a Later, which is not known here; import"):
        Recommender.load(path)


def test_what_cannot_be_opened_keeps_its_own_error(whole, tmp_path, monkeypatch):
    for load in (Recommender.load, Index.load, lambda path: load_arrays(path, "checkpoint")):
        with pytest.raises(FileNotFoundError, match=r"missing\.npz"):
            load(tmp_path / "missing.npz")
        with pytest.raises(IsADirectoryError, match="is a folder"):
            load(tmp_path)
        with pytest.raises(TypeError, match="path must be a path or a binary file"):
            load(None)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is a FIFO"):
        Recommender.load(tmp_path / "pipe")
    path = tmp_path / "m.npz"
    path.write_bytes(whole("MF"))

    def fail(error):
        def call(*args):
            raise error

        return call

    with monkeypatch.context() as patched:
        patched.setattr("builtins.open", fail(PermissionError(errno.EACCES, "Permission denied", str(path))))
        with pytest.raises(PermissionError, match=r"m\.npz"):
            Recommender.load(path)
    with monkeypatch.context() as patched:
        patched.setattr("fastgcn_rec.system.archives.read_npz", fail(OSError(errno.EIO, "Input/output error")))
        with pytest.raises(OSError, match=r"Input/output error.*m\.npz"):
            Recommender.load(path)
        patched.setattr("fastgcn_rec.system.archives.read_npz", fail(MemoryError("no room")))
        with pytest.raises(MemoryError, match="no room"):
            Recommender.load(path)


@pytest.mark.parametrize("kind", [*MODELS, "exact"])
def test_the_same_things_are_the_same_bytes_in_files_and_file_objects(kind, whole, tmp_path):
    content = whole(kind)
    load = Index.load if kind == "exact" else Recommender.load
    thing = load(io.BytesIO(content))
    thing.save(tmp_path / "file.npz")
    assert (tmp_path / "file.npz").read_bytes() == content
    with open(tmp_path / "file.npz", "rb") as file:
        assert saved(load(file)) == content


def test_a_checkpoint_of_a_training_is_what_was_saved(tmp_path):
    data, path = synthetic_interactions(30, 40, 200), tmp_path / "c.npz"
    fgr.fit(fgr.LightGCN(data, 4, 1), data, epochs=1, protocol="none", progress=False, checkpoint=path)
    meta, arrays = load_arrays(path, "checkpoint")
    save_arrays(tmp_path / "again.npz", meta, arrays)
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()
