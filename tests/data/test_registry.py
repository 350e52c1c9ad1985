"""Known data sets: the order of look-up, and downloads that fail without leaving anything. No network is touched."""

import contextlib
import dataclasses
import hashlib
import http.client
import io
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from fastgcn_rec.data import (
    DatasetUnavailableError,
    DownloadError,
    available_datasets,
    catalogue,
    download,
    load_dataset,
    registry,
)

INTER = b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + b"".join(
    b"%d\t%d\t3\t%d\n" % (n % 3, n, n) for n in range(10)
)
ITEM = b"item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n1\tToy Story\t1995\tComedy\n"
USER = b"user_id:token\tage:token\tgender:token\n1\t24\tM\n"


class Answer(io.BytesIO):
    """A response that may promise more bytes than it has, or break while it is read."""

    def __init__(self, body, promised=None, breaks=False):
        super().__init__(body)
        self.headers = {"Content-Length": str(len(body) if promised is None else promised)}
        self.breaks = breaks

    def read(self, size=-1):
        block = super().read(size)
        if self.breaks and not block:
            raise TimeoutError("the read timed out")
        return block


@pytest.fixture(autouse=True)
def isolated(tmp_path, monkeypatch):
    """A cache of its own, no local data, and a network that refuses everything."""
    monkeypatch.delenv("FASTGCN_REC_DATA", raising=False)
    monkeypatch.setenv("FASTGCN_REC_CACHE", str(tmp_path / "cache"))

    def refuse(*arguments):
        raise OSError("no route to host")

    monkeypatch.setattr(download, "open_url", refuse)
    monkeypatch.setattr(download, "run_pip", lambda *a: (_ for _ in ()).throw(DownloadError("pip: no index")))


def serve(monkeypatch, answers):
    calls = []

    def open_url(url, timeout):
        calls.append((url, timeout))
        return answers[url]()

    monkeypatch.setattr(download, "open_url", open_url)
    return calls


def place(folder, **files):
    folder.mkdir(parents=True)
    for name, body in files.items():
        (folder / name.replace("__", ".").replace("_", "-")).write_bytes(body)
    return folder


def place_ml100k(folder):
    return place(folder, ml_100k__inter=INTER, ml_100k__item=ITEM)


def digest(kind, body):
    if kind == "git":
        body, kind = b"blob %d\0" % len(body) + body, "sha1"
    return hashlib.new(kind, body).hexdigest()


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# ---- looking up


def test_lookup_takes_root_then_the_variable_then_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTGCN_REC_DATA", str(tmp_path / "env"))
    inters = {}
    for count, place_name in enumerate(("cache", "env", "root"), start=4):
        body = b"".join(INTER.splitlines(keepends=True)[: count + 1])
        place(tmp_path / place_name / "ml-100k", ml_100k__inter=body, ml_100k__item=ITEM)
        inters[place_name] = count

    def size(**arguments):
        data = load_dataset("ml-100k", **arguments)
        return len(data.train) + len(data.test)

    assert size(root=tmp_path / "root") == size(root=tmp_path / "root" / "ml-100k") == inters["root"]
    assert size() == inters["env"]
    assert next(i for i in available_datasets() if i.name == "ml-100k").found == tmp_path / "env" / "ml-100k"
    monkeypatch.delenv("FASTGCN_REC_DATA")
    assert size() == inters["cache"]


def test_a_folder_that_lacks_a_file_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTGCN_REC_DATA", str(tmp_path / "env"))
    place(tmp_path / "env" / "ml-100k", ml_100k__inter=INTER)
    place_ml100k(tmp_path / "cache" / "ml-100k")
    assert len(load_dataset("ml-100k").train) == 8


def test_an_explicit_root_without_the_data_is_an_error_and_not_a_download(tmp_path, monkeypatch):
    calls = serve(monkeypatch, {})
    place_ml100k(tmp_path / "cache" / "ml-100k")
    with pytest.raises(DatasetUnavailableError, match="nowhere"):
        load_dataset("ml-100k", root=tmp_path)
    assert calls == []


def test_default_split_is_by_time_and_options_reach_it(tmp_path):
    place_ml100k(tmp_path / "cache" / "ml-100k")
    data = load_dataset("ml-100k")
    assert data.test.time.min() > data.train.time.max()
    assert len(load_dataset("ml-100k", test=0.5).test) == 5
    assert len(load_dataset("ml-100k", split="leave-k-out").test) == 3
    with pytest.raises(ValueError, match="no option 'seed'"):
        load_dataset("ml-100k", seed=1)


def test_published_splits_take_no_options(tmp_path):
    place(tmp_path / "cache" / "gowalla", train__txt=b"0 1 2\n", test__txt=b"0 3\n")
    data = load_dataset("gowalla")
    assert (data.name, len(data.train), data.report().published) == ("gowalla", 2, False)
    with pytest.raises(ValueError, match="gowalla comes with its published split and takes no options, got seed"):
        load_dataset("gowalla", seed=1)


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="gowalla, yelp2018, amazon-book, ml-100k, ml-1m, online-retail, got 'gowala'"):
        load_dataset("gowala")


def test_available_datasets_reads_and_fetches_nothing(monkeypatch):
    calls = serve(monkeypatch, {})
    found = {info.name: info for info in available_datasets()}
    assert list(found) == ["gowalla", "yelp2018", "amazon-book", "ml-100k", "ml-1m", "online-retail"]
    assert all(info.found is None for info in found.values())
    assert found["gowalla"].downloadable
    assert not found["online-retail"].downloadable
    assert calls == []


def test_cache_folder_follows_the_variables(tmp_path, monkeypatch):
    assert registry.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("FASTGCN_REC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert registry.cache_folder() == tmp_path / "xdg" / "fastgcn_rec"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert registry.cache_folder() == Path.home() / ".cache" / "fastgcn_rec"


def test_failure_lists_every_place_and_the_way_out_and_leaves_nothing(tmp_path):
    with pytest.raises(DatasetUnavailableError) as error:
        load_dataset("ml-100k")
    for part in (
        "FASTGCN_REC_DATA: not set",
        str(tmp_path / "cache" / "ml-100k") + ": no such folder",
        "https://files.grouplens.org/datasets/movielens/ml-100k.zip: no route to host",
        "pip: no index",
        "Put u.data + u.item or ml-100k.inter + ml-100k.item",
        "pass root=",
    ):
        assert part in str(error.value)
    assert everything(tmp_path) == []


def test_without_download_nothing_is_fetched(monkeypatch):
    calls = serve(monkeypatch, {})
    with pytest.raises(DatasetUnavailableError):
        load_dataset("ml-100k", download=False)
    assert calls == []


# ---- downloading


@pytest.mark.parametrize("kind", ["git", "md5", "sha256"])
def test_download_publishes_a_whole_file_with_the_right_checksum(tmp_path, monkeypatch, kind):
    body = b"0 1 2\n" * 100_000
    calls = serve(monkeypatch, {"http://x/a": lambda: Answer(body)})
    download.download("http://x/a", tmp_path / "a", f"{kind}:{digest(kind, body)}", progress=False)
    assert (tmp_path / "a").read_bytes() == body
    assert everything(tmp_path) == ["a"]
    assert calls == [("http://x/a", 10.0)]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda: Answer(b"other"), "the md5 checksum must be"),
        (lambda: Answer(b"whole", promised=9), "cut short, 5 of 9 bytes"),
        (lambda: Answer(b"whole", breaks=True), "timed out"),
    ],
)
def test_broken_downloads_leave_nothing_and_keep_what_was_there(tmp_path, monkeypatch, answer, message):
    serve(monkeypatch, {"http://x/a": answer})
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(DownloadError, match=message):
        download.download("http://x/a", tmp_path / "a", f"md5:{digest('md5', b'whole')}", progress=False)
    assert everything(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


class Broken(Answer):
    def read(self, size=-1):
        raise http.client.IncompleteRead(b"")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda: (_ for _ in ()).throw(http.client.BadStatusLine("portal")), "no answer in HTTP, .* portal"),
        (lambda: Broken(b"x"), "no answer in HTTP, or one cut short .IncompleteRead"),
        (lambda: Answer(b"12345"), "longer than 0 MiB"),
        (lambda: Answer(b"1", promised=10**12), "longer than 0 MiB"),
    ],
)
def test_what_is_no_answer_is_a_download_error_and_the_next_source_is_tried(tmp_path, monkeypatch, answer, message):
    monkeypatch.setattr(download, "MOST_BYTES", 4)
    base = catalogue._LIGHTGCN + "/gowalla"
    calls = serve(monkeypatch, {f"{base}/train.txt": answer, "http://next/train.txt": lambda: Answer(b"0 1")})
    entry = catalogue._lightgcn("gowalla", "", (1, 1, 1), digest("git", b"0 1"), digest("git", b"0 2"))
    sources = (
        *entry.sources,
        catalogue.Source(
            "next", lambda f: download.download("http://next/train.txt", f / "a", "md5:0", progress=False)
        ),
    )
    monkeypatch.setitem(catalogue.ENTRIES, "gowalla", dataclasses.replace(entry, sources=sources))
    with pytest.raises(DatasetUnavailableError, match=f"(?s)train.txt: .*{message}.*next/train.txt: the md5 checksum"):
        load_dataset("gowalla")
    assert len(calls) == 2
    assert everything(tmp_path) == []


def test_members_of_an_archive_have_a_limit_and_others_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "MOST_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("small", b"1" * 1000)
        archive.writestr("bomb", bytes(10**6))
    download.unzip(tmp_path / "a.zip", tmp_path, ("small",), "there")
    assert everything(tmp_path) == ["a.zip", "small"]
    with pytest.raises(DownloadError, match="there: bomb has 0 MiB, more than"):
        download.unzip(tmp_path / "a.zip", tmp_path, ("bomb",), "there")
    whole = (tmp_path / "a.zip").read_bytes()
    for at in range(30, len(whole), 37):  # damage of any kind
        (tmp_path / "b.zip").write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        with contextlib.suppress(DownloadError):
            download.unzip(tmp_path / "b.zip", tmp_path, ("small",), "there")
    assert everything(tmp_path) == ["a.zip", "b.zip", "small"]


def test_staging_folders_of_killed_downloads_are_swept_and_those_in_use_are_not(tmp_path):
    folder = tmp_path / "cache" / "set"
    left = []

    def leave(staging):
        (staging / "half").write_bytes(b"x")
        os.utime(staging, (0, 0))  # long ago
        left.append(staging.with_name(staging.name + "0"))
        shutil.copytree(staging, left[0])  # as a kill leaves it: nobody has its lock
        download.fill_folder(folder, lambda f: (f / "a").write_bytes(b"1"))
        assert (staging / "half").exists()
        assert not left[0].exists()
        assert everything(folder) == ["a"]

    download.fill_folder(folder, leave)
    assert left
    assert everything(folder.parent) == ["set", "set/a", "set/half"]


def test_an_interrupted_download_leaves_nothing(tmp_path, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    serve(monkeypatch, {"http://x/a": interrupt})
    with pytest.raises(KeyboardInterrupt):
        download.fill_folder(
            tmp_path / "deep" / "set", lambda f: download.download("http://x/a", f / "a", "md5:0", progress=False)
        )
    assert everything(tmp_path) == []


def test_a_data_set_appears_only_when_all_its_files_came(tmp_path, monkeypatch):
    base = catalogue._LIGHTGCN + "/gowalla"
    bodies = {f"{base}/train.txt": b"0 1\n", f"{base}/test.txt": b"0 2\n"}
    entry = catalogue._lightgcn("gowalla", "", (1, 3, 2), digest("git", b"0 1\n"), digest("git", b"0 2\n"))
    monkeypatch.setitem(catalogue.ENTRIES, "gowalla", entry)
    serve(monkeypatch, {f"{base}/train.txt": lambda: Answer(b"0 1\n"), f"{base}/test.txt": lambda: Answer(b"0 9\n")})
    with pytest.raises(DatasetUnavailableError, match="git checksum must be"):
        load_dataset("gowalla")
    assert everything(tmp_path) == []
    calls = serve(monkeypatch, {url: lambda body=body: Answer(body) for url, body in bodies.items()})
    assert len(load_dataset("gowalla").test) == 1
    assert len(calls) == 2
    assert everything(tmp_path / "cache") == ["gowalla", "gowalla/test.txt", "gowalla/train.txt"]
    load_dataset("gowalla")
    assert len(calls) == 2


def zipped(**files):
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return body.getvalue()


def test_zip_members_are_taken_and_nothing_else(tmp_path, monkeypatch):
    body = zipped(ml__u_data=b"1\t2\t3\t4\n", ml__README_md=b"x")
    serve(monkeypatch, {"http://x/z": lambda: Answer(body)})
    download.download_zip("http://x/z", tmp_path, ("ml/u.data",), f"md5:{digest('md5', body)}", progress=False)
    assert everything(tmp_path) == ["u.data"]
    with pytest.raises(DownloadError, match=r"u\.item"):
        download.download_zip("http://x/z", tmp_path, ("ml/u.item",), f"md5:{digest('md5', body)}", progress=False)
    assert everything(tmp_path) == ["u.data"]


def wheel(monkeypatch, inter):
    paths = dict(zip(catalogue._RECBOLE_ML100K, (inter, ITEM, USER), strict=True))

    def run_pip(requirement, folder):
        assert requirement == "recbole==1.2.1"
        with zipfile.ZipFile(folder / "recbole-1.2.1-py3-none-any.whl", "w") as archive:
            for path, body in paths.items():
                archive.writestr(path, body)

    monkeypatch.setattr(download, "run_pip", run_pip)


def test_ml100k_falls_back_to_the_wheel_and_checks_its_files(tmp_path, monkeypatch):
    expected = {
        path: f"sha256:{digest('sha256', body)}"
        for path, body in zip(catalogue._RECBOLE_ML100K, (INTER, ITEM, USER), strict=True)
    }
    monkeypatch.setattr(catalogue, "_RECBOLE_ML100K", expected)
    wheel(monkeypatch, INTER + b"1\t2\t3\t4\n")
    with pytest.raises(DatasetUnavailableError, match=r"ml-100k\.inter: the sha256 checksum must be"):
        load_dataset("ml-100k")
    assert everything(tmp_path) == []
    wheel(monkeypatch, INTER)
    data = load_dataset("ml-100k")
    assert len(data.train) == 8
    assert data.user_info["age"][data.users_of([1])].tolist() == ["24"]
    assert everything(tmp_path / "cache" / "ml-100k") == ["ml-100k.inter", "ml-100k.item", "ml-100k.user"]


def test_pip_failures_carry_its_last_line(tmp_path, monkeypatch):
    monkeypatch.undo()
    commands = []

    def run(command, **options):
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, "", "trying\nERROR: no matching distribution\n")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(DownloadError, match="pip download x==1: ERROR: no matching distribution"):
        download.run_pip("x==1", tmp_path)
    assert {"--no-deps", "--only-binary=:all:", "x==1"} <= set(commands[0])


def test_ml1m_pairs_get_film_ids_only_if_the_counts_prove_the_mapping(tmp_path, monkeypatch):
    folder = place(
        tmp_path / "ml-1m",
        interactions__csv=b"user,item\n0,1\n1,1\n1,0\n",
        items__csv=b'index,title,genres\n5,"Bug\'s Life, A (1998)",Comedy\n9,Heat (1995),Action\n',
    )
    with pytest.raises(ValueError, match="film 2858 must have 3428 events"):
        load_dataset("ml-1m", root=folder)
    monkeypatch.setattr(catalogue, "_ML1M_RATERS", {9: 2, 5: 1})
    data = load_dataset("ml-1m", root=folder, split="none")
    assert sorted(data.user_ids.tolist()) == [1, 2]
    assert data.item_ids.tolist() == [9, 5]
    assert data.item_info["title"].tolist() == ["Heat", "Bug's Life, A"]
