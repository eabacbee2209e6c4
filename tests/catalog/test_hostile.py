"""Every bad input ends in a documented rule or a typed error, and writes nowhere but into its own artefact."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mufin_model.artefacts import Workspace
from mufin_model.errors import ImageError, MufinError

from .conftest import Tiny
from .hostile import ACCEPTED, Case
from .hostile_cases import CASES

DOCS = Path(__file__).parents[2] / "docs" / "bad-input.md"
MARK = "<!-- the table: held against the tests by tests/catalog/test_hostile.py; MUFIN_WRITE_DOCS=1 writes it anew -->"


def outside(workspace: Workspace) -> dict[str, tuple[int, int]]:
    """Files of the workspace and beside it that ingest has no business with: size and time of each."""
    within = (
        path
        for path in sorted(workspace.root.rglob("*"))
        if not {"raw_descriptors", ".state"} & set(path.relative_to(workspace.root).parts) and not path.is_dir()
    )
    beside = sorted(workspace.root.parent.iterdir())
    told = {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in within}
    return told | {str(path): (0, path.lstat().st_mtime_ns) for path in beside if path != workspace.root}


def told(error: MufinError) -> str:
    """An error in a line; figures and a decoder's own words after the colon left out."""
    text = error.what
    if isinstance(error, ImageError):
        text = error.rows[0].split(": ", 1)[1].rsplit(" (", 1)[0]  # type: ignore[attr-defined]
    return f"{type(error).__name__}: {text}"


def fits(got: str, said: str) -> bool:
    """Whether an error begins as the case says; # stands for a figure."""
    return re.match(re.escape(got).replace(r"\#", r"[\d,]+"), said) is not None


@pytest.fixture
def spoilt(tiny: Tiny) -> Iterator[Tiny]:
    tiny.write()
    yield tiny
    assert not [*tiny.folder.parent.glob(".raw_descriptors*")], "an unfinished artefact is left"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.theme}: {case.name}")
def test_case(spoilt: Tiny, case: Case) -> None:
    case.spoil(spoilt)
    before = outside(spoilt.workspace)
    if case.got.startswith(ACCEPTED):
        assert spoilt.check() == []
        assert case.seen(spoilt.ingest())
    else:
        checked = spoilt.check()
        with pytest.raises(MufinError) as caught:
            spoilt.ingest()
        error = caught.value
        assert fits(case.got, told(error)), told(error)
        assert str(error) in map(str, checked)
        assert error.where.startswith(str(spoilt.folder))
        assert error.mend
        shown = str(error)
        assert len(shown) < 4000
        assert all(sign.isprintable() or sign == "\n" for sign in shown)
        assert not spoilt.workspace.path("demo", "raw_descriptors").exists()
    assert outside(spoilt.workspace) == before


def rendered() -> str:
    lines = []
    for theme in dict.fromkeys(case.theme for case in CASES):
        lines += [f"\n### {theme}\n", "| input | what it gets |", "|---|---|"]
        for case in CASES:
            if case.theme == theme:
                got = case.got.replace("#", "…").replace("|", "\\|")
                kind, _, text = got.partition(": ")
                lines.append(f"| {case.name} | {got if got.startswith(ACCEPTED) else f'**{kind}**: {text}'} |")
    return "\n".join(lines) + "\n"


def test_documented() -> None:
    text = DOCS.read_text()
    if os.environ.get("MUFIN_WRITE_DOCS"):
        DOCS.write_text(text[: text.index(MARK)] + MARK + "\n" + rendered())
    assert DOCS.read_text().partition(MARK + "\n")[2] == rendered()
