"""The stage `release`: a challenger is packed and judged; released_model is what passed last.

released_model/   the current release (`package.py` lists its files), and verdict.json: what was decided last

A refused challenger leaves the current release in its place, with the reasons in verdict.json. The stage does not fail:
a refusal is a result. `shelf.py` says how the switch is made and what else is kept.
"""

from __future__ import annotations

import getpass
import platform
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mufin_model.artefacts import Workspace, aside, disk, read_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.config import Settings
from mufin_model.errors import ArtefactError
from mufin_model.names import nearest
from mufin_model.progress import say
from mufin_model.release import gate
from mufin_model.release.package import VERDICT, pack, released, verify
from mufin_model.release.shelf import NOUN, PROMOTED, REFUSED, ROLLED_BACK, Shelf

CHALLENGER = "challenger"


def run(workspace: Workspace, dataset: str, settings: Settings) -> None:
    """Pack, judge, and put in front what passes.

    Raises:
        ArtefactError: an earlier artefact is missing or incomplete.
        DiskError: there is no room.
    """
    shelf = Shelf(workspace, dataset)
    with shelf.locked(), aside(shelf.folder, CHALLENGER) as folder, disk(shelf.folder):
        name = pack(workspace, dataset, settings, folder)
        champion = shelf.adopt()
        records = shelf.records()
        if champion is not None and champion.name == name:
            shelf.take(folder, name)
            number = champion.record or _write(shelf, _told_with(shelf, name), shelf.path(name))
            shelf.point(name, number)
            shelf.mirror(_lasting(next(one for one in shelf.records() if one["number"] == number)))
            say(f"{name} is released already")
        else:
            today = Catalog.load(workspace.read(dataset, "raw_descriptors"))
            metrics = read_json(workspace.read(dataset, "eval_report") / "metrics.json")
            verdict = gate.judge(folder, name, champion, today, settings, _withdrawn(records, name), metrics)
            lasting = verdict.lasting()
            last = records[-1] if records else {}
            if verdict.promoted or _lasting(last) != lasting:
                number = _write(shelf, {**lasting, "measured": verdict.measured}, folder)
            if verdict.promoted:
                shelf.take(folder, name)
                shelf.point(name, number)
            if verdict.promoted or champion is not None:
                shelf.mirror(lasting)
            _tell(dataset, verdict)
            if not verdict.promoted and champion is None:
                raise ArtefactError(
                    "there is nothing to release: the first challenger was refused",
                    where=str(workspace.path(dataset, "released_model")),
                    rows=verdict.reasons,
                    mend="mend these, or -S release.gate=false",
                )
        shelf.prune(settings.release.keep)


def rollback(workspace: Workspace, dataset: str, name: str | None = None, keep: int = 5) -> str:
    """Serve an earlier release again.

    Args:
        workspace: the project.
        dataset: one of its datasets.
        name: the release, or the beginning of its name; the one served before the current one where None.
        keep: releases that stay.

    Returns:
        The name of the release that is served now.

    Raises:
        ArtefactError: there is no such release, or its files are damaged; nothing has changed.
    """
    shelf = Shelf(workspace, dataset)
    with shelf.locked():
        now = shelf.adopt()
        chosen = _chosen(shelf, now.name if now else None, name)
        verify(shelf.path(chosen))
        if now is not None and now.name == chosen:
            say(f"{chosen} is what is served already")
            return chosen
        told = {
            "decision": ROLLED_BACK,
            "challenger": chosen,
            "champion": now.name if now else None,
            "reasons": [f"by hand, from {now.name if now else 'nothing'}"],
        }
        number = _write(shelf, told, shelf.path(chosen))
        shelf.point(chosen, number)
        shelf.mirror(told)
        shelf.prune(keep)
    say(f"{dataset}: {chosen} is served again")
    return chosen


def _chosen(shelf: Shelf, now: str | None, name: str | None) -> str:
    names = shelf.names()
    if name is not None:
        found = [known for known in names if known.startswith(name)]
        if len(found) == 1:
            return found[0]
    else:
        # what was in front before; a release that was rolled back from is not one to return to
        put = [one for one in shelf.records() if one["decision"] in (PROMOTED, ROLLED_BACK)]
        before = [one["champion"] for one in reversed(put) if one["decision"] == PROMOTED and one["release"] == now]
        found = [known for known in before[:1] if known in names]
        if found:
            return str(found[0])
    raise ArtefactError(
        f"no release {name!r} is kept" if name is not None else "there is no earlier release to return to",
        where=str(shelf.folder),
        rows=[known for known in names if known != now],
        mend=nearest(name or "", names) or "`mufin releases` lists them; release.keep says how many stay",
    )


def _withdrawn(records: list[dict[str, Any]], name: str) -> bool:
    """Whether the last thing that was done to a release, by hand, was to take it back."""
    for one in reversed(records):
        if one["decision"] == ROLLED_BACK and name in (one["champion"], one["release"]):
            return one["champion"] == name
        if one["decision"] == PROMOTED and one["release"] == name:
            return False
    return False


def _told_with(shelf: Shelf, name: str) -> dict[str, Any]:
    """Of a release that came without records (`dvc pull`, or older than the gate): its own verdict, if it has one."""
    path = shelf.workspace.path(shelf.dataset, NOUN) / VERDICT
    if path.is_file() and (told := read_json(path)).get("challenger") == name and told["decision"] != REFUSED:
        return {**told, "measured": {}}
    return {**gate.Verdict(name, None, notes=["it was released before there was a gate"]).lasting(), "measured": {}}


def _write(shelf: Shelf, told: dict[str, Any], folder: Path) -> int:
    manifest = released(folder)
    return shelf.record(
        {
            **told,
            "release": told["challenger"],
            "made": {"at": datetime.now(UTC).isoformat(timespec="seconds"), "by": _who(), "commit": _commit(shelf)},
            "metrics": manifest.get("served_metrics", {}),
            "provenance": manifest.get("provenance", {}),
        }
    )


def _lasting(record: dict[str, Any]) -> dict[str, Any]:
    """A record less what is of its time and machine: what verdict.json holds."""
    return {
        key: value
        for key, value in record.items()
        if key not in ("number", "release", "made", "metrics", "provenance", "measured")
    }


def _tell(dataset: str, verdict: gate.Verdict) -> None:
    say(f"{dataset}: {verdict.challenger} {PROMOTED if verdict.promoted else REFUSED}")
    for line in (*verdict.reasons, *verdict.notes):
        say(f"  {line}")


def _who() -> str:
    with suppress(OSError, KeyError, ImportError):
        return f"{getpass.getuser()}@{platform.node()}"
    return platform.node()


def _commit(shelf: Shelf) -> str:
    """The commit that is checked out; empty where there is no git."""
    with suppress(OSError):
        root = shelf.workspace.root
        done = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=root, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""
    return ""
