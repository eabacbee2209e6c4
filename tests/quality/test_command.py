"""`mufin validate`: what it judges, its exit code, and what it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import polars as pl
import pytest

from mufin_dagster.quality.command import Wanted, validate_command
from mufin_dagster.quality.page import render
from mufin_dagster.quality.result import Result
from mufin_dagster.quality.rules import RULES, of
from mufin_model.artefacts import Workspace
from mufin_model.catalog import synthetic
from tests.conftest import PARAMS

from .artefacts import BAD, DATASET, ENC, RAW

SCHEMA = Path(__file__).parents[2] / "docs" / "validate.schema.json"
WRITE = "MUFIN_WRITE_DOCS"


@pytest.fixture(autouse=True)
def _here(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUFIN_ROOT", str(workspace.root))
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue of 80 items."""
    folder = tmp_path_factory.mktemp("drawn") / "shop"
    synthetic.write(folder, items=80, seed=3)
    return folder


@pytest.fixture
def settings(workspace: Workspace) -> None:
    """The project's settings: a catalogue is ingested by them."""
    text = PARAMS.read_text().replace("  - demo\n", f"  - {DATASET}\n").replace("image_size: 64", "image_size: 16")
    workspace.params.write_text(text)


def test_all_well(workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate_command(Wanted(strict=True, json=tmp_path / "r.json")) == 0
    assert f"{len(RULES)} ok, 0 warnings, 0 failed" in capsys.readouterr().out
    told = Result.model_validate_json((tmp_path / "r.json").read_text())
    assert {(suite.artefact, one.name) for suite in told.suites for one in suite.expectations} == {
        (rule.noun, rule.name) for rule in RULES
    }
    assert (workspace.root / "data" / ".quality" / "report.html").is_file()


def test_a_warning_fails_only_if_strict(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the command, and of the JUnit file."""
    BAD["empty_texts_zero"][0](workspace.root)
    xml = tmp_path / "junit.xml"
    assert validate_command(Wanted([DATASET], junit=xml)) == 0
    assert "1 warnings" in capsys.readouterr().out
    root = ElementTree.parse(xml).getroot()
    assert root.get("failures") == "0"
    assert [case.get("name") for case in root.iter("testcase") if case.find("system-out") is not None] == [
        "empty_texts_zero"
    ]
    assert validate_command(Wanted([DATASET], strict=True, junit=xml)) == 1
    assert ElementTree.parse(xml).getroot().get("failures") == "1"


def test_a_critical_rule_fails(workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table, JSON and JUnit tell the same, with the first offending rows."""
    BAD["item_ids_unique"][0](workspace.root)
    files = {"json": tmp_path / "new" / "r.json", "junit": tmp_path / "new" / "junit.xml"}
    assert validate_command(Wanted([DATASET], report=tmp_path / "r.html", **files)) == 2
    assert "No two items share an id." in capsys.readouterr().out
    told = json.loads(files["json"].read_text())
    assert (told["verdict"], told["exit_code"], told["failures"]) == ("failed", 2, 1)
    (failed,) = [one for suite in told["suites"] for one in suite["expectations"] if not one["passed"]]
    assert failed["name"] == "item_ids_unique"
    assert failed["first"][0]["id"] == failed["first"][1]["id"]
    root = ElementTree.parse(files["junit"]).getroot()
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == (str(len(RULES)), "1", "0")
    (case,) = [case for case in root.iter("testcase") if case.find("failure") is not None]
    assert case.get("name") == "item_ids_unique"
    assert case.find("failure").text.count(failed["first"][0]["id"]) == 2


def test_damage_is_told(workspace: Workspace, tmp_path: Path) -> None:
    (workspace.path(DATASET, RAW) / "items.parquet").write_bytes(b"no \0 Parquet")
    assert validate_command(Wanted(junit=tmp_path / "junit.xml", report=tmp_path / "r.html")) == 2
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert int(root.get("errors")) > 3
    assert "Do not go on" in (tmp_path / "r.html").read_text()


def test_an_unknown_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    assert validate_command(Wanted(["tyni"])) == 2
    assert "no dataset named 'tyni'" in capsys.readouterr().err


def test_nothing_to_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "params.yaml").write_text("datasets: [tiny]\n")
    monkeypatch.setenv("MUFIN_ROOT", str(tmp_path / "new"))
    assert validate_command(Wanted()) == 2
    assert "no artefact to judge yet" in capsys.readouterr().err


@pytest.mark.usefixtures("settings")
def test_a_folder(drawn: Path, workspace: Workspace, tmp_path: Path) -> None:
    """A catalogue that is not the project's: nothing is left but the files asked for."""
    before = sorted(path for path in workspace.root.rglob("*"))
    wanted = Wanted(
        catalog=drawn, json=tmp_path / "o" / "r.json", report=tmp_path / "o" / "r.html", data_docs=tmp_path / "o" / "gx"
    )
    assert validate_command(wanted) == 0
    told = Result.model_validate_json((tmp_path / "o" / "r.json").read_text())
    (suite,) = told.suites
    assert (suite.dataset, suite.artefact) == ("shop", RAW)
    assert [one.name for one in suite.expectations] == [rule.name for rule in of(RAW)]
    (portrait,) = told.portraits
    assert portrait.counts["train items"] + portrait.counts["val items"] + portrait.counts["test items"] == 80
    assert all(sum(chart.series["labels"]) == pytest.approx(1, abs=0.01) for chart in portrait.charts[::2])
    assert sorted(path for path in workspace.root.rglob("*") if tmp_path / "o" not in [path, *path.parents]) == before
    pages = {rule.table for rule in of(RAW)}
    assert {path.stem for path in (tmp_path / "o" / "gx" / "shop" / RAW).iterdir()} == pages
    assert (tmp_path / "o" / "gx" / "index.html").read_text().count("<li>") == len(pages)


@pytest.mark.usefixtures("settings")
def test_a_folder_and_the_vectors_of_it(drawn: Path, tmp_path: Path) -> None:
    """The backbones need no training; weights that the project keeps are not asked for."""
    small = ["encode.image_backbone=handmade", "encode.text_width=32", "encode.text_layers=1", "encode.text_heads=2"]
    overrides = small
    assert validate_command(Wanted(catalog=drawn, encode=True, overrides=overrides, json=tmp_path / "r.json")) == 0
    told = Result.model_validate_json((tmp_path / "r.json").read_text())
    assert [suite.artefact for suite in told.suites] == [RAW, ENC]
    assert len(told.suites[1].expectations) == len(of(ENC))


@pytest.mark.usefixtures("settings")
def test_what_cannot_be_ingested_is_a_result(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    for file in drawn.iterdir():
        (bad / file.name).symlink_to(file)
    links = pl.read_parquet(drawn / "train.parquet")
    (bad / "train.parquet").unlink()
    lost = pl.DataFrame({name: ["<b>nowhere</b>"] for name in links.columns[:2]})
    pl.concat([links.select(links.columns[:2]), lost]).write_parquet(bad / "train.parquet")
    files = {"json": tmp_path / "r.json", "junit": tmp_path / "j.xml", "report": tmp_path / "r.html"}
    assert validate_command(Wanted(catalog=bad, **files)) == 2
    assert "unknown item ids" in capsys.readouterr().out
    told = Result.model_validate_json(files["json"].read_text())
    for fault, column in zip(told.faults, ("item_id", "label_id"), strict=True):  # all faults, not the first alone
        assert fault.kind == "CatalogError"
        assert fault.where == f"{bad}/train.parquet, column {column}"
        assert "nowhere" in fault.rows[0]
    root = ElementTree.parse(files["junit"]).getroot()
    assert root.get("errors") == "2"
    assert [case.get("name") for case in root.iter("testcase")] == ["ingest, fault 1", "ingest, fault 2"]
    page = files["report"].read_text()
    assert "1 catalogue could not be ingested, for 2 reasons." in page
    assert "&lt;b&gt;nowhere" in page
    assert "<b>nowhere" not in page


@pytest.mark.usefixtures("settings")
def test_a_dataset_without_artefacts_is_judged_by_its_catalogue(
    drawn: Path, workspace: Workspace, tmp_path: Path
) -> None:
    text = workspace.params.read_text().replace(f"  - {DATASET}\n", "  - fresh\n  - later\n")
    workspace.params.write_text(text)
    workspace.dataset("fresh").mkdir()
    workspace.catalog("fresh").symlink_to(drawn)
    assert validate_command(Wanted(json=tmp_path / "r.json")) == 0
    told = Result.model_validate_json((tmp_path / "r.json").read_text())
    assert [suite.dataset for suite in told.suites] == ["fresh"]
    assert [(fault.dataset, fault.severity) for fault in told.faults] == [("later", "warning")]
    assert not workspace.path("fresh", RAW).exists()


def test_the_result_keeps_to_its_schema(workspace: Workspace, tmp_path: Path) -> None:
    """The schema that docs/ci.md names; MUFIN_WRITE_DOCS=1 writes it anew."""
    if os.environ.get(WRITE):
        SCHEMA.write_text(json.dumps(Result.model_json_schema(), indent=2) + "\n")
    schema = json.loads(SCHEMA.read_text())
    assert schema == Result.model_json_schema()
    BAD["item_ids_unique"][0](workspace.root)
    validate_command(Wanted(json=tmp_path / "r.json"))
    jsonschema.validate(json.loads((tmp_path / "r.json").read_text()), schema)


class Asked(HTMLParser):
    """What a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [f"{tag} {value}" for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]
        if tag in ("script", "link", "iframe"):
            self.found.append(tag)


def test_the_page_needs_nothing_else(workspace: Workspace, tmp_path: Path) -> None:
    """No address, no script; pictures are in it. Ids of a stranger's catalogue stay text."""
    BAD["item_ids_unique"][0](workspace.root)
    items = workspace.path(DATASET, RAW) / "items.parquet"
    hostile = '"><script>alert(1)</script>'
    pl.read_parquet(items).with_columns(
        id=pl.when(pl.int_range(pl.len()) < 2).then(pl.lit(hostile)).otherwise("id")
    ).write_parquet(items)
    validate_command(Wanted(json=tmp_path / "r.json", report=tmp_path / "r.html"))
    page = (tmp_path / "r.html").read_text()
    assert page == render(Result.model_validate_json((tmp_path / "r.json").read_text()))
    asked = Asked()
    asked.feed(page)
    assert [one for one in asked.found if not one.startswith("img data:image/")] == []
    assert "http" not in page
    assert "url(" not in page
    assert "alert(1)" in page


def test_help_is_quick() -> None:
    """The command line loads none of what judging needs."""
    code = (
        "import sys, mufin_dagster.cli; "
        "sys.exit(', '.join(m for m in ('great_expectations', 'polars', 'jinja2') if m in sys.modules) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
