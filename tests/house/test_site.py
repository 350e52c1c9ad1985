"""The site of the documents and the API: nothing public is missing from it, and what is made of pages and docstrings says what these say."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import fastgcn_rec

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "scripts" / "site").is_dir():
    pytest.skip("the site's scripts are not beside the tests", allow_module_level=True)

import check_links  # noqa: E402
import public_names  # noqa: E402
import site_pages  # noqa: E402
from docstring_layout import markdown_of  # noqa: E402

WITH_ALL = [room.name for room in public_names.ROOMS if hasattr(importlib.import_module(f"fastgcn_rec.{room.name}"), "__all__")]  # fmt: skip


def test_the_menu_has_every_page_once():
    places = re.findall(r"([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    api = [f"api/{name}.md" for name in ["index", *(room.name for room in public_names.ROOMS)]]
    assert sorted(places) == sorted([*site_pages.sources().values(), *api])


@pytest.mark.parametrize("room", WITH_ALL)
def test_the_page_of_a_room_has_its_public_names(room):
    names = public_names.names_of(room)
    assert [one.name for one in names] == importlib.import_module(f"fastgcn_rec.{room}").__all__
    text = site_pages.api_page(next(one for one in public_names.ROOMS if one.name == room))
    assert re.findall(r"^::: (.+)$", text, re.MULTILINE) == [f"fastgcn_rec.{room}.{one.name}" for one in names]


def test_the_api_has_every_public_name_of_the_package():
    shown = {one.name for names in public_names.all_names().values() for one in names}
    assert set(fastgcn_rec.__all__) - shown == set()
    assert len(WITH_ALL) == 8


def test_every_name_of_the_api_is_there_and_says_what_it_is():
    for names in public_names.all_names().values():
        for one in names:
            module, _, name = one.path.rpartition(".")
            value = getattr(importlib.import_module(module), name)
            assert one.summary, one.path
            if one.kind != "value":
                assert " ".join(inspect.getdoc(value).split()).startswith(one.summary), one.path


def test_links_of_a_page_lead_to_places_of_the_site():
    text = "[data](docs/data.md#internal-ids) [all](docs/README.md) [how](CONTRIBUTING.md) ![x](docs/benchmarks.png) [y](https://x.org)"
    assert (
        site_pages.site_text("README.md", text)
        == "[data](data.md#internal-ids) [all](pages.md) [how](contributing.md) ![x](benchmarks.png) [y](https://x.org)"
    )
    text = "[a](../CHANGELOG.md) [b](../benchmarks/results/field.json) [c](train.md) [d](#e)"
    assert (
        site_pages.site_text("docs/data.md", text)
        == "[a](changelog.md) [b](benchmarks/results/field.json) [c](train.md) [d](#e)"
    )
    assert "benchmarks/results/field.json" in site_pages.linked_files()


def test_a_link_that_is_called_as_its_file_is_called_as_its_page():
    text = "[train.md](train.md#losses), [CONTRIBUTING.md](../CONTRIBUTING.md), [more](train.md)"
    made = "[How do I train a model?](train.md#losses), [Contributing](contributing.md), [more](train.md)"
    assert site_pages.site_text("docs/data.md", text) == made
    assert site_pages.site_text("docs/README.md", "[train.md](train.md)") == "[train](train.md)"


def test_a_page_has_no_markers_and_its_lists_and_tables_stand_apart():
    text = "Two:\n- one\n- two\n  lines\n<!-- table: x -->\n| a |\n|---|\n| b |\n\nFrom <!-- figure: y -->.5<!-- end -->.\n<!-- end -->"
    made = "Two:\n\n- one\n- two\n  lines\n\n| a |\n|---|\n| b |\n\nFrom .5."
    assert site_pages.site_text("docs/data.md", text) == made
    assert "\u00a0±\u00a0" in site_pages.site_text("docs/data.md", "| .2 ± .1 |"), (
        "a figure and its interval in one piece"
    )
    code = "```\nx:\n- [y](docs/data.md) <!-- end -->\n```\n"
    assert site_pages.site_text("README.md", code) == code


def test_what_a_page_says_is_on_the_site():
    """Words in their order, but for markers and the places of links."""
    for source in site_pages.sources():
        text = (ROOT / source).read_text(encoding="utf-8")
        words, made = (
            re.sub(r"\[[^\]]*\]\([^)]*\)", " ", re.sub(r"(?<!`)<!-- .*? -->", "", one)).split()
            for one in (text, site_pages.site_text(source, text))
        )
        assert words == made, source


def test_a_docstring_becomes_markdown():
    text = """Sums: x < y * z, see :func:`other` and ``code``.

    Parameters
    ----------
    x, y : int [n], or None
        What is added.
    z

    It is quick.

    Returns
    -------
    total : float, never
        negative

    Raises
    ------
    TypeError : a text. ValueError : one that is
        too long; IndexError : no such row.

    Examples
    --------
    >>> sums(1, 2)
    3
    """
    assert (
        markdown_of(text, lambda target: f"package.{target}")
        == r"""Sums: x &lt; y \* z, see [`other`][package.other] and `code`.

**Parameters**

- **`x`**, **`y`** : int \[n\], or None
    
    What is added.

z

It is quick.

**Returns**

- **`total`** : float, never negative

**Raises**

- `TypeError`: a text.
- `ValueError`: one that is too long;
- `IndexError`: no such row.

**Examples**

```pycon
>>> sums(1, 2)
3
```"""  # noqa: W293
    )


def test_no_word_of_a_docstring_is_lost():
    """Of every public name: what the layout makes of it has its words in their order."""
    for names in public_names.all_names().values():
        for one in names:
            if one.kind == "value":
                continue
            module, _, name = one.path.rpartition(".")
            text = inspect.getdoc(getattr(importlib.import_module(module), name))
            made = markdown_of(text).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
            words, shown = (re.findall(r"[^\W_]+", re.sub(r":\w+:(?=`)|```\w*", " ", one)) for one in (text, made))
            assert words == shown, one.path


def test_llms_txt_has_a_line_for_every_page_and_name():
    lines = site_pages.llms_text([("Glossary", "glossary.md", "# What do the words mean?\n")]).splitlines()
    assert "- [Glossary](glossary.html): What do the words mean?" in lines
    names = [one for names in public_names.all_names().values() for one in names]
    assert [line for line in lines if line.startswith("- fastgcn_rec.")] == [f"- {one.path}: {one.summary}" for one in names]  # fmt: skip
    assert lines[0] == "# fastgcn_rec"
    assert lines[2].startswith("> Fast, reproducible graph recommender systems")


def test_links_that_lead_nowhere_are_found(tmp_path):
    (tmp_path / "api").mkdir()
    (tmp_path / "api/index.html").write_text('<h2 id="there">x</h2>', encoding="utf-8")
    good = '<a href="api/#there">x</a><a href="api/index.html">y</a><a href="https://x.org/z">z</a><a href="#top"></a><p id="top">'
    (tmp_path / "index.html").write_text(good, encoding="utf-8")
    assert check_links.main(tmp_path) == 0
    (tmp_path / "other.html").write_text(
        '<a href="api/index.html#gone">x</a><img src="no.png"><a href="#nowhere"></a>', encoding="utf-8"
    )
    (tmp_path / "api/ops.html").write_text("<p>see :func:<code>topk</code></p>", encoding="utf-8")
    assert check_links.broken(tmp_path) == [
        "ops.html: :func: stands in the text",
        "other.html: api/index.html#gone leads to no anchor",
        "other.html: no.png leads to no file",
        "other.html: #nowhere leads to no anchor",
    ]
    assert check_links.main(tmp_path) == 1
