"""Where releases stand: `data/<dataset>/releases/`, beside the artefact and known to this machine alone.

<name>/          a release that was promoted, named by its content; the last `release.keep` of them stay
current.json     {"release": name, "record": number}: what is served. One rename of this file switches
records/<n>.json each decision: promoted, refused, rolled back, with its time, its reasons and its provenance

A decision is written down first, then the folder is put in place, then the pointer is renamed, then the artefact
released_model is made the same, and last old folders go. Killed between any two of these, what was served still is, or
already the next one; running the same command again completes it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mufin_model.artefacts import Workspace, aside, exclusive, read_json, write_json
from mufin_model.errors import ArtefactError
from mufin_model.release.package import MANIFEST, VERDICT, released, verify

NOUN = "released_model"
PROMOTED, REFUSED, ROLLED_BACK = "promoted", "refused", "rolled back"


@dataclass(frozen=True)
class Current:
    """What is served: a release's name, its folder, and the number of the record that put it there (0: none did)."""

    name: str
    folder: Path
    record: int


class Shelf:
    """The releases of one dataset."""

    def __init__(self, workspace: Workspace, dataset: str) -> None:
        self.workspace, self.dataset = workspace, dataset
        self.folder = workspace.dataset(dataset) / "releases"

    def path(self, name: str) -> Path:
        return self.folder / name

    def names(self) -> list[str]:
        """Releases whose folders are here."""
        return sorted(path.parent.name for path in self.folder.glob(f"*/{MANIFEST}") if path.parent.name[0] != ".")

    def current(self) -> Current | None:
        """What is served; where no gate has decided yet, the artefact as it lies there. None where there is neither.

        Raises:
            ArtefactError: the pointer is damaged, or points to nothing.
        """
        pointer = self.folder / "current.json"
        if pointer.is_file():
            told = read_json(pointer)
            folder = self.path(str(told["release"]))
            if not (folder / MANIFEST).is_file():
                raise ArtefactError(
                    f"release {told['release']} is served, but its folder is gone",
                    where=str(folder),
                    mend=f"mufin rollback to one of: {', '.join(self.names()) or 'none is left, so mufin release'}",
                )
            return Current(str(told["release"]), folder, int(told["record"]))
        folder = self.workspace.path(self.dataset, NOUN)
        if not (folder / MANIFEST).is_file():
            return None
        return Current(str(released(folder)["release"]), folder, 0)

    def records(self) -> list[dict[str, Any]]:
        """All decisions, the first one first; each has its `number`."""
        found = [path for path in (self.folder / "records").glob("*.json") if path.stem.isdigit()]
        return [{"number": int(path.stem), **read_json(path)} for path in sorted(found, key=lambda p: int(p.stem))]

    def record(self, told: Mapping[str, Any]) -> int:
        """Write down a decision; its number."""
        folder = self.folder / "records"
        folder.mkdir(parents=True, exist_ok=True)
        number = max((one["number"] for one in self.records()), default=0) + 1
        write_json(folder / f"{number:06d}.json", dict(told))
        return number

    def take(self, packed: Path, name: str) -> None:
        """Put a packed release among the others; one of the same name holds the same bytes."""
        final = self.path(name)
        if (final / MANIFEST).is_file():
            try:
                verify(final)
                return
            except ArtefactError:
                shutil.rmtree(final)
        os.rename(packed, final)

    def adopt(self) -> Current | None:
        """Take a release from before there was a shelf among the others, so that it can be returned to."""
        now = self.current()
        if now is None or now.record:
            return now
        if not (self.path(now.name) / MANIFEST).is_file():
            with aside(self.folder, "adopted") as folder:
                link_all(now.folder, folder)
                self.take(folder, now.name)
        return Current(now.name, self.path(now.name), 0)

    def point(self, name: str, record: int) -> None:
        """Serve this release from now on: one rename."""
        write_json(self.folder / "current.json", {"release": name, "record": record})

    def mirror(self, verdict: Mapping[str, Any]) -> None:
        """Make the artefact released_model what is served, and say in it what was decided last."""
        now = self.current()
        assert now is not None
        source = now.folder
        with self.workspace.write(self.dataset, NOUN) as folder:
            link_all(source, folder)
            write_json(folder / VERDICT, dict(verdict))

    def prune(self, keep: int) -> list[str]:
        """Remove releases but the last `keep` that were put in front; what is served stays.

        One that was adopted has no record of its own: the one that took its place names it.

        Returns:
            The names of those that went.
        """
        now = self.current()
        put = [one for one in reversed(self.records()) if one["decision"] in (PROMOTED, ROLLED_BACK)]
        names = [name for one in put for name in (one["release"], one.get("champion")) if name]
        latest = list(dict.fromkeys([now.name] if now else []) | dict.fromkeys(names))
        gone = [name for name in self.names() if name not in latest[:keep]]
        for name in gone:
            # under a name of its own first: half a folder is never taken for a release
            with aside(self.folder, "pruned") as folder:
                os.rename(self.path(name), folder / name)
        return gone

    def locked(self) -> AbstractContextManager[None]:
        """A block in which no other process decides about this dataset."""
        return exclusive(self.folder / ".lock")


def link_all(source: Path, target: Path) -> None:
    """A second name for each file of a release but the verdict, or a copy where the disk gives no second names.

    Artefacts are replaced and never written into, so two names of one file stay equal.
    """
    for path in sorted(source.rglob("*")):
        there = target / path.relative_to(source)
        if path.is_dir():
            there.mkdir(exist_ok=True)
        elif path.name != VERDICT:
            try:
                os.link(path, there)
            except OSError:
                shutil.copyfile(path, there)
