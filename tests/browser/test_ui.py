"""A person's way through the web interface: see the graph, change a setting, see what is stale, make it anew.

Several minutes on two cores. `pytest tests/browser --basetemp=FOLDER` keeps the screenshots.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from mufin_dagster.quality import rules
from mufin_model.artefacts import NOUNS

from .conftest import MINUTES, Project

CHANGED = "encoder_embeddings"
"""The asset whose setting is changed: it has checks, and assets follow it."""
SLOW = 5 * MINUTES * 1000


@pytest.mark.timeout(3600)
def test_change_a_setting_and_materialize_what_is_stale(ui: Project, page: Page, tmp_path: Path) -> None:
    # the graph shows the catalogue and the nine stages, none of them stale
    page.goto(f"{ui.url}/asset-groups")
    for noun in ("catalog", *NOUNS.values()):
        expect(_node(page, noun)).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("button", name=f"Materialize all ({len(NOUNS)})")).to_be_visible()
    page.screenshot(path=tmp_path / "1-graph.png")
    assert _stale(page, ui) == set()

    # a setting is changed on disk, the definitions are loaded anew: its asset is marked
    ui.set("encode.max_tokens=24")
    page.get_by_role("button", name="Reload definitions").click()
    _until(lambda: CHANGED in _stale(page, ui), page)
    _overview(page, ui, CHANGED)
    mark = page.get_by_text("Unsynced (1)").first
    expect(mark).to_be_visible(timeout=SLOW)
    mark.hover()
    expect(page.get_by_text("code version").first).to_be_visible()
    page.screenshot(path=tmp_path / "2-unsynced.png")

    # only what is stale is made anew
    page.goto(f"{ui.url}/asset-groups")
    _unsynced_dialog(page)
    expect(page.get_by_role("dialog").get_by_text(f"demo / {CHANGED}").first).to_be_visible()
    page.screenshot(path=tmp_path / "3-dialog.png")
    page.get_by_role("button", name=re.compile("Materialize 1 asset")).click()
    expect(page.get_by_text("Launched run").first).to_be_visible(timeout=SLOW)
    page.get_by_text("View", exact=True).first.click()
    page.wait_for_url("**/runs/**")
    expect(page.get_by_text("Success", exact=True).or_(page.get_by_text("Failure", exact=True)).first).to_be_visible(
        timeout=SLOW
    )
    page.screenshot(path=tmp_path / "4-run.png")
    expect(page.get_by_text("Success", exact=True).first).to_be_visible()

    # it is in step again, its checks are green, and what reads it is marked now
    page.goto(f"{ui.url}/assets/demo/{CHANGED}?view=checks")
    expect(page.get_by_text("Succeeded", exact=True)).to_have_count(len(rules.of(CHANGED)), timeout=SLOW)
    page.screenshot(path=tmp_path / "5-checks.png")
    stale = _stale(page, ui)
    assert CHANGED not in stale
    assert "pretrained_model" in stale
    _overview(page, ui, "pretrained_model")
    expect(page.get_by_text("Unsynced (1)").first).to_be_visible(timeout=SLOW)
    page.screenshot(path=tmp_path / "6-next.png")


def _node(page: Page, noun: str) -> Locator:
    """An asset in the list beside the graph."""
    return page.get_by_role("button").filter(has_text=noun).first


def _overview(page: Page, ui: Project, noun: str) -> None:
    """The page of one asset."""
    page.goto(f"{ui.url}/assets/demo/{noun}?view=overview")
    expect(page.get_by_text("Latest materialization").first).to_be_visible(timeout=SLOW)


def _stale(page: Page, ui: Project) -> set[str]:
    """Nouns that Dagster calls stale, asked over GraphQL; a page that is still loading would show none."""
    query = "{ assetNodes { assetKey { path } staleStatus } }"
    answer = page.request.post(f"{ui.url}/graphql", data={"query": query}).json()
    return {node["assetKey"]["path"][-1] for node in answer["data"]["assetNodes"] if node["staleStatus"] == "STALE"}


def _until(holds: Callable[[], bool], page: Page) -> None:
    deadline = time.monotonic() + SLOW / 1000
    while not holds():
        assert time.monotonic() < deadline
        page.wait_for_timeout(2000)


def _unsynced_dialog(page: Page) -> None:
    """Open "Materialize unsynced": the arrow at the right of "Materialize all" has no name of its own."""
    button = page.get_by_role("button", name="Materialize all").first
    expect(button).to_be_enabled(timeout=SLOW)
    # the menu's item works once the graph knows which nodes are stale, which it asks for after drawing them
    expect(_node(page, CHANGED)).to_be_visible(timeout=SLOW)
    page.wait_for_timeout(5000)
    box = button.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] + 12, box["y"] + box["height"] / 2)
    page.get_by_role("menuitem", name="Materialize unsynced").click()
