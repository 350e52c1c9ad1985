"""What a release is made by: workflows, wheels, forms, and the versions that files say."""

import re
from pathlib import Path

import pytest
import yaml  # which Optuna brings

from fastgcn_rec.core.native import __version__

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"

in_a_checkout = pytest.mark.skipif(not GITHUB.is_dir(), reason="what belongs to the forge is not beside the tests")
pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="the project is not beside the tests")


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def workflow(name):
    read = yaml.safe_load(text_of(f".github/workflows/{name}.yml"))
    return read | {"on": read.pop(True)}  # YAML 1.1 takes "on" for a truth value


def settings():
    return pytest.importorskip("tomllib").loads(text_of("pyproject.toml"))


def used_by(job):
    return [step["uses"].partition("@")[0] for step in job["steps"] if "uses" in step]


@in_a_checkout
@pytest.mark.parametrize("name", ["ci", "wheels"])
def test_a_workflow_may_read_alone_and_ends_in_time(name):
    read = workflow(name)
    assert read["permissions"] == {"contents": "read"}
    for job in read["jobs"].values():
        assert job["timeout-minutes"] <= 300
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])
        assert all(re.fullmatch(r"[\w./-]+@[\w./]+", step["uses"]) for step in job["steps"] if "uses" in step)


@in_a_checkout
def test_only_a_tag_publishes_without_a_token_what_was_tested():
    jobs = workflow("wheels")["jobs"]
    publishing = {name for name, job in jobs.items() if "pypa/gh-action-pypi-publish" in used_by(job)}
    assert publishing == {"publish"}
    assert {name for name, job in jobs.items() if job.get("permissions")} == publishing
    publish = jobs["publish"]
    assert publish["if"] == "github.event_name == 'push' && startsWith(github.ref, 'refs/tags/v')"
    assert publish["permissions"] == {"id-token": "write"}
    assert set(publish["needs"]) == set(jobs) - publishing - {"experimental"}
    assert "secrets." not in text_of(".github/workflows/wheels.yml")
    assert jobs["experimental"]["continue-on-error"] is True
    assert "actions/upload-artifact" not in used_by(jobs["experimental"])


@in_a_checkout
def test_a_release_holds_one_wheel_a_platform():
    built = workflow("wheels")["jobs"]["linux"]["strategy"]["matrix"]["include"]
    released = [row["os"] for row in built if row["artifact"].startswith("release-")]
    assert len(released) == len(set(released)) == 2
    assert len({row["artifact"] for row in built}) == len(built)


@in_a_checkout
def test_wheels_are_built_for_the_pythons_that_are_tested():
    matrix = workflow("ci")["jobs"]["test"]["strategy"]["matrix"]["python"]
    checked = workflow("ci")["jobs"]["check"]["steps"][1]["with"]["python-version"]
    tested = sorted([*matrix, checked], key=lambda version: int(version.partition(".")[2]))
    assert settings()["tool"]["cibuildwheel"]["build"] == [f"cp{version.replace('.', '')}-*" for version in tested]
    assert settings()["project"]["requires-python"] == f">={tested[0]}"


def test_wheels_leave_the_openmp_runtime_to_torch():
    repair = "auditwheel repair --exclude libgomp.so.1"
    assert settings()["tool"]["cibuildwheel"]["linux"]["repair-wheel-command"].startswith(repair)
    assert text_of("scripts/wheels.sh").count("auditwheel repair ") == text_of("scripts/wheels.sh").count(repair) == 1


def test_the_files_that_say_the_version_agree():
    version = settings()["project"]["version"]
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert citation["version"] == version == __version__
    assert citation["license"] == settings()["project"]["license"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)


def test_the_changelog_keeps_its_form():
    headings = re.findall(r"^#+ .*", text_of("CHANGELOG.md"), re.MULTILINE)
    assert headings[:2] == ["# Changelog", "## [Unreleased]"]
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    since = []
    for heading in headings[1:]:
        marks, _, name = heading.partition(" ")
        if marks == "##":
            assert re.fullmatch(r"\[Unreleased\]|\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", name), name
            since = []
        else:
            assert (marks, name in kinds, name in since) == ("###", True, False), heading
            since.append(name)


@in_a_checkout
@pytest.mark.parametrize("name", ["bug", "question", "feature"])
def test_a_form_asks_for_something(name):
    form = yaml.safe_load(text_of(f".github/ISSUE_TEMPLATE/{name}.yml"))
    assert {"name", "description", "body"} <= set(form)
    ids = [field["id"] for field in form["body"]]
    assert len(ids) == len(set(ids))
    assert all(field["attributes"]["label"] for field in form["body"])
    assert any(field.get("validations", {}).get("required") for field in form["body"])
