"""`mufin validate`: what it prints and its exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from mufin_dagster.quality.command import validate_command
from mufin_dagster.quality.rules import RULES
from mufin_model.artefacts import Workspace

from .artefacts import BAD, DATASET


@pytest.fixture(autouse=True)
def _here(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUFIN_ROOT", str(workspace.root))
    monkeypatch.setenv("COLUMNS", "160")


def test_all_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert validate_command(None, strict=True) == 0
    assert f"{len(RULES)} ok, 0 warnings, 0 failed" in capsys.readouterr().out


def test_a_warning_fails_only_if_strict(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    BAD["empty_texts_zero"][0](workspace.root)
    assert validate_command(DATASET, strict=False) == 0
    assert "1 warnings" in capsys.readouterr().out
    assert validate_command(DATASET, strict=True) == 1


def test_a_critical_rule_fails(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    BAD["item_ids_unique"][0](workspace.root)
    assert validate_command(DATASET, strict=False) == 1
    assert "No two items share an id." in capsys.readouterr().out


def test_an_unknown_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    assert validate_command("tyni", strict=False) == 2
    assert "no dataset named 'tyni'" in capsys.readouterr().err


def test_nothing_to_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "params.yaml").write_text("datasets: [tiny]\n")
    monkeypatch.setenv("MUFIN_ROOT", str(tmp_path / "new"))
    assert validate_command(None, strict=False) == 2
    assert "no artefact to judge yet" in capsys.readouterr().err
