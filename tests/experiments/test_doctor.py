"""The command doctor where something is off."""

import pytest
from commands import code_of

from fastgcn_rec.experiments import doctor


def test_doctor_fails_with_its_self_test_and_survives_a_package_without_metadata(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_self_test", lambda: "FAILED: x")
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(doctor.importlib.metadata, "version", raising_not_found)
    assert code_of("doctor") == 1
    assert "matplotlib (curves.png): there, of unknown version" in capsys.readouterr().out


def raising_not_found(name):
    raise doctor.importlib.metadata.PackageNotFoundError(name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("always [madvise] never\n", "madvise; tables of"),
        ("always madvise [never]\n", "never, says"),
        (None, "has none"),
    ],
)
def test_doctor_says_whether_large_tables_get_huge_pages(text, said, monkeypatch, tmp_path, capsys):
    mode = tmp_path / "enabled"
    if text is not None:
        mode.write_text(text)
    monkeypatch.setattr(doctor, "_HUGE_PAGES", mode)
    assert code_of("doctor") == 0
    assert said in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("huge pages:"))
