"""The tutorials: run as they stand, without a word to the standard error, and shown as pages. `make check-site` runs them anew."""

import base64
import copy

import pytest
from pages import ROOT, text_of

if not (ROOT / "scripts" / "site").is_dir():
    pytest.skip("the site's scripts are not beside the tests", allow_module_level=True)

import notebooks
import site_pages

FILES = notebooks.files()
PNG = base64.b64encode(b"\x89PNG of a kind").decode()


def ids(file):
    return file.stem


def code_of(made):
    return [cell for cell in made["cells"] if cell["cell_type"] == "code"]


def test_every_tutorial_is_on_the_page_of_examples():
    page = text_of(ROOT / "docs" / "examples.md")
    assert len(FILES) >= 5
    assert [file.name for file in FILES if f"(tutorials/{file.name})" not in page] == []


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_a_tutorial_was_run_from_top_to_bottom(file):
    made = notebooks.read(file)
    assert [cell["execution_count"] for cell in code_of(made)] == list(range(1, len(code_of(made)) + 1))
    outputs = [output for cell in code_of(made) for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "execute_result", "display_data"}
    assert {output["name"] for output in outputs if output["output_type"] == "stream"} <= {"stdout"}
    assert "".join(made["cells"][0]["source"]).startswith("# ")


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_a_tutorial_holds_nothing_of_the_machine_that_ran_it(file):
    made = notebooks.read(file)
    assert notebooks.notebook(copy.deepcopy(made["cells"])) == made
    text = text_of(file)
    assert "/tmp/" not in text
    assert "/home/" not in text
    assert file.stat().st_size < 150_000


def test_the_notebook_of_the_lecture_is_its_page():
    stored, made = notebooks.read(notebooks.TUTORIALS / "lecture.ipynb"), notebooks.of_the_lecture()
    assert [(cell["cell_type"], cell["source"]) for cell in stored["cells"]] == [
        (cell["cell_type"], cell["source"]) for cell in made["cells"]
    ], "python scripts/site/notebooks.py lecture makes it anew"
    assert "<!--" not in "".join(line for cell in made["cells"] for line in cell["source"])


def test_the_page_of_a_notebook_has_its_words_its_code_and_what_that_shows(tmp_path):
    cell = notebooks.cell
    cells = [cell("markdown", "# Title\n\nWords."), *(cell("code", text) for text in ("print(1)", "frame", "plot()", "5"))]  # fmt: skip
    shown = [
        {"output_type": "stream", "name": "stdout", "text": ["1\n", "2\n"]},
        {"output_type": "execute_result", "data": {"text/html": ["<style scoped>\nx</style>\n", '<table border="1" class="dataframe"></table>'], "text/plain": ["x"]}},
        {"output_type": "display_data", "data": {"image/png": PNG, "text/plain": ["<Figure>"]}},
        {"output_type": "execute_result", "data": {"text/plain": ["5"]}},
    ]  # fmt: skip
    for one, output in zip(cells[1:], shown, strict=True):
        one["outputs"] = [output]
    notebooks.write(tmp_path / "small.ipynb", notebooks.notebook(cells))
    text, pictures = notebooks.page_of(tmp_path / "small.ipynb")
    assert [line for line in text.splitlines() if line] == [
        "# Title", "[This page as a notebook](small.ipynb)", "Words.",
        "```python", "print(1)", "```", "```text", "1", "2", "```",
        "```python", "frame", "```", "<table></table>",
        "```python", "plot()", "```", "![what the cell draws](small-0.png)",
        "```python", "5", "```", "```text", "5", "```",
    ]  # fmt: skip
    assert pictures == {"small-0.png": b"\x89PNG of a kind"}


def test_links_of_a_tutorial_lead_to_places_of_the_site():
    source = "docs/tutorials/own_model.ipynb"
    text = "[a](../ops.md#x) [b](own_model.ipynb) [c](kernels.ipynb) ![d](own_model-0.png) [e](../../README.md) [f](lecture.ipynb)"
    assert (
        site_pages.site_text(source, text)
        == "[a](../ops.md#x) [b](own_model.ipynb) [c](kernels.md) ![d](own_model-0.png) [e](../index.md) [f](lecture.ipynb)"
    )
    assert site_pages.site_text("docs/examples.md", "[k](tutorials/kernels.ipynb)") == "[k](tutorials/kernels.md)"


def test_a_notebook_that_fails_or_warns_is_refused():
    pytest.importorskip("nbclient")
    for code, error in (("1 / 0", "ZeroDivisionError"), ("import sys; sys.stderr.write('oh')", "standard error: oh")):
        with pytest.raises(RuntimeError, match=error):
            notebooks.run(notebooks.notebook([notebooks.cell("code", code)]))
    made = notebooks.run(notebooks.notebook([notebooks.cell("code", "print(1)\nprint(2)")]))
    assert made["cells"][0]["outputs"] == [{"name": "stdout", "output_type": "stream", "text": ["1\n", "2\n"]}]
