"""The pictures of the documents: made of the contract and the results as they are, and to be read."""

import importlib
import json
import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "scripts" / "site").is_dir():
    pytest.skip("the scripts are not beside the tests", allow_module_level=True)

import architecture  # noqa: E402
import public_names  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"
FONTS = {"name": "DejaVuSansMono-Bold", "head": "DejaVuSans-Bold"}  # the widest of those that the picture asks for


@pytest.fixture(scope="module")
def house():
    return ElementTree.parse(architecture.PICTURE).getroot()


def texts_of(element):
    return [text.text for text in element.iter(f"{SVG}text")]


def boxes_of(house):
    return [group for group in house.iter(f"{SVG}g") if group.get("class", "").startswith("box")]


def number(element, name):
    return float(element.get(name))


@pytest.fixture(scope="module")
def extent_of(house):
    """Where a text begins and ends in the widest font, and its size."""
    matplotlib = pytest.importorskip("matplotlib")
    from matplotlib.ft2font import FT2Font

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    style = house.find(f"{SVG}style").text
    sizes = {"": int(re.search(r"^text \{ font: (\d+)px", style, re.MULTILINE)[1])}
    sizes |= {
        kind: int(size) for kind, size in re.findall(r"^\.(\w+) \{ (?:font|font-size): [a-z ]*(\d+)px", style, re.M)
    }

    def extent(text):
        kinds = text.get("class").split()
        size = sizes.get(kinds[0], sizes[""])
        font = FT2Font(str(folder / f"{FONTS.get(kinds[0], 'DejaVuSans')}.ttf"))
        font.set_size(size, 72)
        font.set_text(text.text)
        width = font.get_width_height()[0] / 64
        left = number(text, "x") - (width / 2 if "middle" in kinds else 0)
        return left, left + width, size

    return extent


def test_the_picture_of_the_house_is_what_its_script_makes():
    assert architecture.PICTURE.read_text(encoding="utf-8") == architecture.picture(), "make pictures"


def test_every_floor_and_room_is_in_the_picture_of_the_house(house):
    tomllib = pytest.importorskip("tomllib")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    roof, *layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    assert any(text.startswith(roof) for text in texts_of(house))
    rects = {group.get("id"): group.find(f"{SVG}rect") for group in boxes_of(house)}
    heights = [{number(rects[room], "y") for room in layer.split(" | ")} for layer in layers]
    assert [len(height) for height in heights] == [1] * len(layers), "rooms of a floor stand side by side"
    tops = [height.pop() for height in heights]
    assert tops == sorted(tops), "a floor stands on the one below it"
    assert [text for text in texts_of(house) if text.isdigit()] == [str(n) for n in reversed(range(len(layers)))]
    for group in boxes_of(house):
        assert "step" in group.get("class") or len(texts_of(group)) >= 2, f"{group.get('id')} says what it is for"


def test_what_the_picture_of_the_house_names_is_there(house):
    csrc = {folder.relative_to(ROOT / "csrc").as_posix() for folder in (ROOT / "csrc").iterdir() if folder.is_dir()}
    shown = {name for row in architecture.CELLAR for name, _ in row}
    assert {name.partition("/")[0] for name in shown} == csrc
    assert all((ROOT / "csrc" / name).is_dir() for name in shown)
    rooms = {group.get("id") for group in boxes_of(house)}
    for words, room in architecture.WAY:
        assert room in rooms
        names = {one.name for one in public_names.names_of(room)}
        assert all(word in names for word in words.split() if word not in {"files", "model", "recommend"}), words


def test_no_text_of_the_picture_leaves_its_box_or_meets_another(house, extent_of):
    boxes = boxes_of(house)
    assert len(boxes) > 25
    for group in boxes:
        rect = group.find(f"{SVG}rect")
        left, top = number(rect, "x"), number(rect, "y")
        for text in group.iter(f"{SVG}text"):
            begin, end, size = extent_of(text)
            assert left < begin, text.text
            assert end < left + number(rect, "width"), text.text
            assert top + 0.8 * size < number(text, "y") < top + number(rect, "height") - 0.25 * size, text.text
    width = float(house.get("viewBox").split()[2])
    lines = {}
    for text in house.iter(f"{SVG}text"):
        begin, end, size = extent_of(text)
        assert 0 < begin < end < width, text.text
        assert size * 360 / width >= 6, "it can be read on a phone"
        lines.setdefault(number(text, "y"), []).append((begin, end, text.text))
    for line in map(sorted, lines.values()):
        for before, after in pairwise(line):
            assert before[1] < after[0], (before, after)


def test_a_text_that_is_too_long_goes_into_more_lines_that_are_evened_out():
    text, letter = "one two three four five", 10 * architecture.WIDEST
    assert architecture.wrapped(text, 23 * letter, 10) == [text]
    assert architecture.wrapped(text, 18.5 * letter, 10) == ["one two three", "four five"]


@pytest.fixture(scope="module")
def report():
    if not (ROOT / "benchmarks" / "results").is_dir():
        pytest.skip("the results are not beside the tests")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        return importlib.import_module("benchmarks.report")


@pytest.fixture(scope="module")
def records(report):
    return importlib.import_module("benchmarks.documents").all_records()


def test_the_picture_of_times_shows_the_results_as_they_are(report, records):
    drawn = report.figures_in((ROOT / "docs" / "benchmarks.png").read_bytes())
    shown = report.panels(records, list(report.JOBS))
    assert drawn == report.figures_of(shown), "make pictures"
    assert len({job[0] for rows in shown.values() for job in rows}) == 2, "a CPU and a GPU"
    changed = [r | {"ratio": 2 * r["ratio"]} if "ratio" in r else r for r in records]
    assert report.figures_of(report.panels(changed, list(report.JOBS))) != drawn


def test_the_picture_of_times_hides_no_job_at_which_another_is_faster(report, records):
    every = {job: others for rows in report.panels(records).values() for job, others in rows.items()}
    lost = {job for job, others in every.items() if others[0].ratio * report.EQUAL < 1}
    assert len(every) > 50
    assert lost
    missing = {job for job in lost if job not in report.JOBS}
    assert missing == set()


def test_a_row_of_the_picture_is_of_one_machine_and_has_the_fastest_first(report):
    base = {"case": "adam", "data": "d", "device": "cpu", "dtype": "float32", "ratio": 3.0}
    card = {"gpu": "a card", "processor": "p", "threads": 1, "isa_level": "v3"}
    one, two = (
        {"processor": "one", "threads": 2, "isa_level": "v3"},
        {"processor": "two", "threads": 1, "isa_level": "v4"},
    )
    made = [
        base | {"contender": "theirs", "date": "2026-01-02", "machine": two, "runs": [3.0, 2.0]},
        base | {"contender": "others", "date": "2026-01-01", "machine": two, "ratio": 0.5},
        base | {"contender": "theirs", "date": "2026-01-01", "machine": one, "ratio": 9.0},
        base | {"contender": "theirs", "date": "2026-01-02", "machine": two, "dtype": "bfloat16", "ratio": 0.1},
        base | {"contender": "ours", "date": "2026-01-02", "machine": two, "ratio": 1.0},
        base | {"contender": "torch", "date": "2026-01-01", "machine": card, "device": "cuda", "captured_calls": 0},
    ]
    cpu, gpu = ("cpu", "adam", "d"), ("cuda", "adam", "d")
    found = report.panels(made)
    assert found == {
        "two, 1 thread, AVX-512": {cpu: [("others", 0.5), ("theirs", 2.0)]},
        "a card": {gpu: [("torch, eager", 3.0)]},
    }
    assert list(report.panels(made, [gpu])) == ["a card"]
    with pytest.raises(KeyError):
        report.panels(made, [("cpu", "another", "d")])


def test_a_picture_says_which_figures_it_shows(report, tmp_path):
    pytest.importorskip("matplotlib")
    shown = {"a machine": {("cpu", "adam", "d"): [report.Other("slow", 0.5), report.Other("slower", 40.0)]}}
    report.draw(shown, tmp_path / "x.png")
    picture = (tmp_path / "x.png").read_bytes()
    assert json.loads(report.figures_in(picture)) == {
        "a machine": [["cpu", "adam", "d", [["slow", 0.5], ["slower", 40.0]]]]
    }
    assert report.figures_in(picture[:33]) == ""
