"""`mufin releases`, as people and as programs read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mufin_model.artefacts import Workspace, write_json
from mufin_model.cli import app
from mufin_model.release import package
from mufin_model.release.shelf import Shelf


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """Three promotions, of which the first is pruned and the third rolled back from, and a refusal."""
    (tmp_path / "params.yaml").write_text("datasets: [shop, other]\n")
    monkeypatch.setenv("MUFIN_ROOT", str(tmp_path))
    shelf = Shelf(Workspace(tmp_path), "shop")
    decisions = [
        ("promoted", "aaa"),
        ("promoted", "bbb"),
        ("refused", "xxx"),
        ("promoted", "ccc"),
        ("rolled back", "bbb"),
    ]
    for number, (decision, name) in enumerate(decisions):
        told = {"decision": decision, "release": name, "challenger": name, "champion": None, "notes": []}
        told |= {"reasons": ["P@1 [30 %] beside 40 %"] if decision == "refused" else [], "provenance": {"data": "d1"}}
        told |= {"metrics": {"P@1": 0.25}, "made": {"at": f"2030-01-0{number + 1}T10:00:00+00:00"}}
        shelf.record({**told, "measured": {"megabytes": 12.5, "milliseconds": 8.0}})
        if name in ("bbb", "ccc"):
            shelf.path(name).mkdir(exist_ok=True)
            write_json(shelf.path(name) / package.MANIFEST, {"release": name, "files": {}})
    shelf.point("bbb", 5)
    return shelf


def test_states_of_all_decisions(shelf: Shelf) -> None:
    done = CliRunner().invoke(app, ["releases", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [(one["release"], one["state"]) for one in told] == [
        ("bbb", "current"),
        ("ccc", "kept"),
        ("xxx", "refused"),
        ("bbb", "earlier"),  # the same release is current: no decision about it calls it gone
        ("aaa", "gone"),
    ]
    assert told[2]["reasons"] == ["P@1 [30 %] beside 40 %"]
    assert told[0]["provenance"] == {"data": "d1"}


def test_people_read_names_figures_and_reasons_whole(shelf: Shelf) -> None:
    lines = CliRunner().invoke(app, ["releases", "-d", "shop"]).stdout.splitlines()
    assert [line.split()[1] for line in lines[1:] if line.startswith("shop")] == ["bbb", "ccc", "xxx", "bbb", "aaa"]
    assert "  P@1 [30 %] beside 40 %" in lines[4]
    assert "2030-01-05 10:00   25.00          12.5    8.0" in lines[1]


def test_nothing_yet_and_an_unknown_dataset(shelf: Shelf) -> None:
    assert "nothing was released yet" in CliRunner().invoke(app, ["releases", "-d", "other"]).stdout
    done = CliRunner().invoke(app, ["releases", "-d", "othr"])
    assert done.exit_code == 2
    assert "did you mean 'other'?" in done.stderr
