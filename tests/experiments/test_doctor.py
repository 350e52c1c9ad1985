"""The command doctor where something is off."""

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
