"""The benchmarks run: their gates hold and their records are complete. No time is judged here."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import fastgcn_rec
from fastgcn_rec.core import native

ROOT = Path(__file__).resolve().parents[2]
FIELDS = {"case", "data", "device", "dtype", "dim", "contender", "median_ms", "q1_ms", "q3_ms", "ratio"}

pytestmark = pytest.mark.skipif(
    not Path(fastgcn_rec.__file__).is_relative_to(ROOT), reason="benchmarks run from the checkout they belong to"
)


@pytest.fixture
def here(monkeypatch):
    """``python -m benchmarks ...`` in this process, which has imported already what a new one would have to."""
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.chdir(ROOT)
    return lambda *arguments: importlib.import_module("benchmarks.__main__").main(arguments)


def benchmarks(*arguments, **environment):
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


@pytest.mark.parametrize(
    "cases",
    [
        pytest.param(["sampler", "ppr"], id="two"),
        pytest.param(
            ["propagate", "step", "dense", "loss", "sampler", "negatives", "adam", "graph", "topk", "ppr", "walks", "pinsage", "call", "als", "item_item", "columns"],
            id="every",
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_a_race_writes_whole_records_and_a_picture(here, tmp_path, cases):
    file, picture = tmp_path / "result.json", tmp_path / "picture.png"
    done = benchmarks(*cases, "--quick", "--data", "synthetic:3e3", "--dim", 16, "--json", file)
    assert done.returncode == 0, done.stderr
    result = json.loads(file.read_text())
    assert {"machine", "versions", "date", "command", "ceilings_gb_per_s"} <= result.keys()
    assert all(record.keys() >= FIELDS for record in result["records"])
    groups = {record["case"] for record in result["records"]}
    assert {group.split("/")[0] for group in groups} == set(cases)
    for group in groups:
        ours, *others = [record for record in result["records"] if record["case"] == group]
        assert ours["contender"].startswith("ours")
        assert ours["ratio"] == 1
        assert others
    assert here("report", str(file), "--out", str(picture)) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("ignore")  # of those that they are compared with
def test_every_benchmark_finds_what_it_imports(here):
    names = [file.stem for file in (ROOT / "benchmarks").glob("*.py") if file.stem != "__main__"]
    assert {"bench_step", "compare_fold_in"} <= set(names)
    for name in names:
        importlib.import_module(f"benchmarks.{name}")


@pytest.mark.slow
def test_scale_gives_the_estimate_beside_the_measured_peak(tmp_path):
    file = tmp_path / "result.json"
    done = benchmarks("scale", "--quick", "--data", "synthetic:3e3", "--json", file)
    assert done.returncode == 0, done.stderr
    for record in json.loads(file.read_text())["records"]:
        assert {"edges", "hop_ns_per_edge", "peak_mib", "predicted_mib"} <= record.keys()


@pytest.mark.slow
def test_ranks_give_bits_bytes_and_memory_before_a_time(tmp_path):
    """The benchmark compares tables with one process's and bytes with the formula itself.

    The C library keeps what is given back to it unless its threshold is fixed, and so much of it, here 20 MiB, that a peak tells nothing.
    """
    file = tmp_path / "result.json"
    done = benchmarks("ranks", "--quick", "--data", "synthetic:3e5", "--json", file, MALLOC_MMAP_THRESHOLD_="131072")
    assert done.returncode == 0, done.stderr
    records = json.loads(file.read_text())["records"]
    assert {record["dim"] for record in records} == {64, 256}
    for record in records:
        assert 0 < record["sent_bytes_a_rank"] < 2**23
        for added, predicted in (("added_mib", "predicted_mib"), ("one_added_mib", "one_predicted_mib")):
            assert abs(record[added] - record[predicted]) <= 8 + 0.06 * record[predicted], record


def test_the_arithmetic_of_many_gpus_is_that_of_its_script():
    scale_out = importlib.import_module("benchmarks.scale_out")
    written = json.loads((ROOT / "benchmarks" / "results" / "scale-out.json").read_text())["records"]
    assert written == json.loads(json.dumps(scale_out.records()))
    at = {(r["edges"], r["gpus"]): r for r in written}
    for one, many in ((at[10**8, 1], at[10**8, 4]), (at[10**9, 1], at[10**9, 8])):
        columns = many["gpus"]
        assert many["step_ms"] < 1.1 * one["step_ms"] / columns
        assert many["gib"] < one["gib"]


def fails():
    raise RuntimeError("no such kernel\nand more")


def test_a_contender_that_raises_is_skipped_with_its_error_and_ours_is_not(here, tmp_path, monkeypatch, capsys):
    harness, adam = (importlib.import_module(f"benchmarks.{name}") for name in ("harness", "bench_adam"))
    later = iter(range(4))
    contenders = [
        harness.Contender("ours", lambda: None),
        harness.Contender("never", harness.on_first_call(lambda: fails)),
        harness.Contender("not made", harness.on_first_call(fails)),
        harness.Contender("not for long", lambda: next(later)),
        harness.Contender("theirs", lambda: None),
    ]
    races = [
        harness.Comparison("adam/whole", contenders, lambda: None),
        harness.Comparison("adam/ours fails", [harness.Contender("ours", fails), contenders[-1]], lambda: None),
        harness.Comparison("adam/wrong", contenders, fails),
        harness.Comparison("adam/last", contenders[::4], lambda: None),
    ]
    monkeypatch.setattr(adam, "comparisons", lambda settings: iter(races))
    file = tmp_path / "result.json"
    assert here("adam", "--quick", "--data", "synthetic:3e3", "--dim", "8", "--json", str(file)) == 1
    result = json.loads(file.read_text())
    ran = [(r["case"], r["contender"]) for r in result["records"]]
    assert ran == [("adam/whole", "ours"), ("adam/whole", "theirs"), ("adam/last", "ours"), ("adam/last", "theirs")]
    errors = {r["contender"]: r["error"] for r in result["skipped"]}
    assert errors.pop("not for long") == "StopIteration: "
    assert errors == dict.fromkeys(["never", "not made"], "RuntimeError: no such kernel")
    assert result["failed"] == ["adam/ours fails", "adam/wrong"]
    printed = capsys.readouterr().out
    assert "never, float32                           skipped: RuntimeError: no such kernel" in printed


def test_times_on_a_gpu_are_of_a_graph_where_it_can_be(here, monkeypatch):
    harness = importlib.import_module("benchmarks.harness")

    def single():
        pass

    def waits():
        pass

    def replay():
        pass

    def captured(run, calls, may_wait):
        if run is waits and not may_wait:
            fails()
        assert calls == 10  # as many as fill a sample
        return replay

    monkeypatch.setattr(harness, "captured", captured)
    monkeypatch.setattr(harness, "_cuda_clock", lambda run, calls: {single: 1e-3, waits: 1e-3, replay: 2e-3}[run])
    contenders = [
        harness.Contender("ours", single),
        harness.Contender("cannot", waits),
        harness.Contender("must not", single, calls=0),
        harness.Contender("waits by itself", waits, waits=True),
    ]
    settings = harness.Settings("none", torch.device("cuda"), quick=True)
    records, skipped = harness.measure(harness.Comparison("case", contenders, lambda: None), settings, {})
    assert skipped == []
    assert [r["captured_calls"] for r in records] == [10, 0, 0, 10]
    assert [r["median_ms"] for r in records] == pytest.approx([0.2, 1.0, 1.0, 0.2])
    assert [r["eager_ms"] for r in records] == pytest.approx([1.0] * 4)
    assert [r["ratio"] for r in records] == pytest.approx([1.0, 5.0, 5.0, 1.0])
    assert [r.get("not_captured") for r in records] == [None, "RuntimeError: no such kernel", None, None]
    _, _, _, *lines = harness.table(records).splitlines()
    endings = ["(eager 1.000)", "(eager; RuntimeError: no such kernel)", "(eager; not to be captured)", "(eager 1.000)"]
    assert all(line.endswith(ending) for line, ending in zip(lines, endings, strict=True))


@pytest.mark.skipif(
    not (native.HAS_CUDA and torch.cuda.is_available()), reason="needs a GPU and a build with CUDA: not here"
)
@pytest.mark.filterwarnings("ignore:.*prototype")  # torch's detection of calls that wait
def test_cuda_graphs_are_timed_but_of_calls_that_wait(here):
    harness, adam, topk = (
        importlib.import_module(f"benchmarks.{name}") for name in ("harness", "bench_adam", "bench_topk")
    )
    settings = harness.Settings("synthetic:3e3", torch.device("cuda"), dim=16, quick=True)
    for race in (*adam.comparisons(settings), next(topk.comparisons(settings))):
        records, skipped = harness.measure(race, settings, {"copy": 1.0})
        assert skipped == []
        assert all(r["median_ms"] > 0 and r["eager_ms"] > 0 and r["rounds"] == 5 for r in records)
        waiting = [r["not_captured"] for r in records if not r["captured_calls"]]
        assert len(waiting) == (race.case != "adam")
        assert all("synchroniz" in reason for reason in waiting)


def test_a_file_that_is_no_result_is_refused(here, tmp_path):
    file = tmp_path / "other.json"
    file.write_text("{}")
    with pytest.raises(SystemExit, match="is not a result of these benchmarks"):
        here("report", str(file))


@pytest.mark.slow
def test_samplers_are_compared_at_equal_training_time(tmp_path):
    file = tmp_path / "result.json"
    texts = ["uniform(2)", "curriculum(uniform(1), dynamic(1))"]
    options = ["--data", "synthetic:3e3", "--seconds", "0.3", "--seeds", "2", "--dim", "8", "--batch-size", "256"]
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.compare_negatives", *options, "--json", file]
    done = subprocess.run([*command, "--samplers", *texts], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    records = json.loads(file.read_text())["records"]
    assert [r["sampler"] for r in records] == [
        "uniform(2)",
        "curriculum(uniform(1), dynamic(1, candidates=32, refresh=1), start=1, per_epoch=1, cap=6)",
    ]
    for record in records:
        values = [run["recall@20"] for run in record["runs"]]
        assert record["recall@20"] == pytest.approx(sum(values) / 2)
        assert record["recall@20_spread"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
        assert all(run["seconds"] >= 0.3 and run["steps"] >= 1 for run in record["runs"])


@pytest.mark.slow
def test_folding_in_is_compared_with_training_anew(tmp_path):
    file = tmp_path / "result.json"
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.compare_fold_in", "--data", "synthetic:3e3"]
    command += ["--epochs", "1", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    records = json.loads(file.read_text())["records"]
    ways = ["trained with them", "folded in", "popularity", "folded in, method='ridge'"]
    more = ["folded in, calibrated", "folded in, method='ridge', calibrated"]
    assert [r["contender"] for r in records if r["new"] == "users"] == ways
    assert [r["contender"] for r in records if r["new"] == "items"] == ways + more
    assert all(0 <= r["recall@20"] <= 1 and r["n_users_evaluated"] > 0 for r in records)
    assert records[1]["one_user_ms"] > 0


def test_the_documents_hold_the_figures_of_the_results(here, capsys):
    assert here("report", "--docs", "--check") == 0, capsys.readouterr()


@pytest.fixture
def readme(here, tmp_path, monkeypatch):
    """The one page of a project that has copies of the results beside it."""
    from benchmarks import documents

    shutil.copytree(documents.RESULTS, tmp_path / "results")
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    monkeypatch.setattr(documents, "RESULTS", tmp_path / "results")
    return tmp_path / "README.md"


def test_a_figure_that_was_typed_is_found(here, readme, capsys):
    readme.write_text(
        "hops <!-- figure: ratio of case=adam date=2026-11-23 'contender=torch.optim.Adam, fused' -->2<!-- end -->"
    )
    assert here("report", "--docs", "--check") == 1
    assert capsys.readouterr().out == f"differs from benchmarks/results: {readme}\n"
    assert here("report", "--docs") == 0
    assert readme.read_text().endswith("-->1.07<!-- end -->")
    assert here("report", "--docs", "--check") == 0


def test_the_last_result_counts_and_a_table_of_times_is_of_one_machine(here, readme):
    def table_with(result):
        (readme.parent / "results/2026-12-01-again.json").write_text(json.dumps(result))
        assert here("report", "--docs") == 0
        return readme.read_text()

    readme.write_text("<!-- table: scale --><!-- end -->")
    last = json.loads((readme.parent / "results/2026-11-25-epyc-avx512-2-cores-scale.json").read_text())
    records, last["records"] = last["records"], []
    before = table_with(last)
    assert "| 1,000,000 | 17.6 |" in before  # of two machines the one that measured last
    assert "| 64 |" not in before
    last["date"] = "2026-12-01"
    last["records"] = [r | {"graph_ns_per_edge": 5.0} for r in records if r.get("edges") == 1_000_000]
    again = table_with(last)
    assert "| 1,000,000 | 5 |" in again
    assert "| 10,000,000 | 19.3 |" in again
    assert "2026-12-01" in again
    last["machine"] |= {"processor": "another"}
    assert "| 10,000,000 |" not in table_with(last)


def test_a_table_is_of_one_device(here):
    from benchmarks import documents

    records = documents.all_records()
    assert {r["device"] for r in records if "median_ms" in r} == {"cpu", "cuda"}
    for name, table in documents.TABLES.items():
        devices = {r["device"] for row in documents.rows_of(table, records) for r in row if "device" in r}
        assert devices <= {"cuda" if name.startswith("gpu ") else "cpu"}, name


def test_the_times_of_kernels_are_results(here, readme):
    case = {"variant": "now", "dtype": "float32", "sizes": "d=64", "data": "L2", "us": 80.0, "graph_nodes": 3}
    node = {"sampling": "batch_kernel", "numbering": "cub::Scan", "hops": "hop_kernel<", "last": "hop_kernel<"}
    cases = [
        case | {"name": "copy", "variant": "kernel"},
        case | {"name": "hop", "gb_per_s": 5000.0, "predicted_us": 40, "measured_over_predicted": 2.0},
        *(case | {"name": "hop", "variant": f"{n} ahead", "us": us} for n, us in enumerate([90.0, 70.0, 60.0, 75.0])),
        case | {"name": "step BPR K=3", "by_node": [{"node": n, "us": 1.0 + k} for k, n in enumerate(node.values())]},
        case | {"name": "topk", "us": None, "error": "out of memory"},
    ]
    content = {
        "program": "gpu_main time", "date": "2026-12-01T10:00:00Z", "card": {"name": "a card", "driver": 13000},
        "graph": {"from": "somewhere/gowalla/train.txt"}, "cases": cases,
    }  # fmt: skip
    (readme.parent / "results/2026-12-01-a-card-kernels.json").write_text(json.dumps(content))
    names = ("gpu kernels", "gpu ceilings", "gpu steps", "gpu variants")
    readme.write_text("".join(f"<!-- table: {name} --><!-- end -->\n" for name in names))
    assert here("report", "--docs") == 0
    lines = readme.read_text().splitlines()
    for line in (
        "| hop | d=64 | float32 | 80 | 5,000 GB/s | 40 | 2 |",
        "| copy, kernel | d=64 | float32 | L2 | 80 |  |  |  |",
        "| step BPR K=3 | float32 | 80 (aim 350) | 3 | 1 | 2 | 3 | 4 | 0 |",
        "| hop | float32 | 80 | 4 | 2 ahead **60**; 1 ahead **70**; 3 ahead **75** |",
    ):
        assert lines.count(line) == 1, line
    assert sum("a card; 2026-12-01" in line for line in lines) == 4
    assert "out of memory" not in readme.read_text()
    assert not [line for line in lines if line.startswith("| topk |")]


def test_others_on_a_gpu_are_held_against_ours_of_their_dtype(here, readme):
    source = json.loads((readme.parent / "results/2026-11-25-epyc-avx512-2-cores.json").read_text())
    record = {"case": "propagate/hop", "data": "gowalla", "device": "cuda", "dim": 64, "captured_calls": 20}
    source |= {"date": "2026-12-01", "machine": source["machine"] | {"gpu": "a card"}}
    source["records"] = [
        record | {"contender": who, "dtype": dtype, "median_ms": ms, "ratio": ms / 2, "captured_calls": calls}
        for who, dtype, ms, calls in (
            ("ours", "float32", 2.0, 20),
            ("ours", "bfloat16", 1.0, 20),
            ("torch", "float32", 3.0, 0),
            ("torch", "bfloat16", 3.0, 20),
        )
    ]
    (readme.parent / "results/2026-12-01-a-card.json").write_text(json.dumps(source))
    readme.write_text("<!-- table: gpu hops and steps --><!-- end --><!-- table: hops and steps --><!-- end -->")
    assert here("report", "--docs") == 0
    page = readme.read_text()
    assert "| propagate: hop | 2 | 1 | torch, eager **1.50** (aim 1.5); torch, bfloat16 **3** (aim 2.5) |" in page
    assert "| propagate: hop | 2.77 |" in page


@pytest.mark.parametrize(
    ("marker", "says"),
    [
        ("<!-- table: steps --><!-- end -->", "no such table"),
        ("<!-- figure: ratio of case=none --><!-- end -->", "no result has it"),
        ("<!-- figure: ratio of case=adam --><!-- end -->", "name more of"),
        ("<!-- tabel: scale --><!-- end -->", "no marker"),
        ("<!-- table: scale -->", "without its end"),
    ],
)
def test_a_marker_that_names_nothing_is_refused(here, readme, marker, says):
    readme.write_text(marker)
    with pytest.raises(ValueError, match=says):
        here("report", "--docs", "--check")
