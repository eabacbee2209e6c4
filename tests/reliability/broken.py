"""Runs every stage in child processes that are broken off: killed at random moments, or out of room on the disk.

    python -m tests.reliability.broken ROOT SEED

ROOT holds the dataset `demo` with all stages done, under the settings of tests/conftest.py. Each stage is run under a
changed setting, so that its result differs from what lies there: first unbroken, which says what is to come out and how
long it takes; then broken off, again and again; then unbroken once more. Prints a line for each stage.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

from mufin_model.artefacts import NOUNS, Workspace
from mufin_model.cli import LIBRARY
from mufin_model.errors import DiskError
from tests.conftest import small_settings

CHANGED = {
    "ingest": "ingest.image_size=12",
    "encode": "encode.max_tokens=12",
    "pretrain": "pretrain.lr=1e-3",
    "index": "index.augment=false",
    "mine": "mine.shortlist=15",
    "finetune": "finetune.lr=2e-3",
    "predict": "predict.top_k=9",
    "evaluate": "evaluate.gallery=5",
    "release": "release.licence=ours",
}
KILLS = 3
NO_ROOM = 3
"""Exit code of a child that found no room and said so."""


def digests(folder: Path) -> dict[str, str]:
    """Path and hash of every file of an artefact."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.md5(path.read_bytes()).hexdigest() for path in files}


def begin(site: Path, verb: str, limit: int | None = None) -> int:
    """Start a stage in a child; its process id."""
    # Nothing has started a thread in this process, so its children are whole.
    if child := os.fork():
        return child
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        settings = small_settings(CHANGED[verb])
        importlib.import_module(LIBRARY[verb][0]).run(Workspace(site), "demo", settings)
    except DiskError:
        os._exit(NO_ROOM)
    except BaseException as error:
        print(verb, repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def place(root: Path, site: Path, verb: str) -> Path:
    """A workspace that shows all artefacts as they are, and has its own of the stage; the artefact's folder."""
    dataset = site / "data" / "demo"
    dataset.mkdir(parents=True)
    for path in (root / "data" / "demo").iterdir():
        if path.name in (NOUNS[verb], "releases"):
            shutil.copytree(path, dataset / path.name)
        elif not path.name.startswith("."):
            (dataset / path.name).symlink_to(path)
    return dataset / NOUNS[verb]


def broken_off(root: Path, verb: str, chance: random.Random) -> dict[str, object]:
    """What came of one stage."""
    whole = place(root, root.parent / "whole" / verb, verb)
    began = time.monotonic()
    code = ended(begin(root.parent / "whole" / verb, verb))
    seconds = time.monotonic() - began
    site = root.parent / "broken" / verb
    folder = place(root, site, verb)
    old, new = digests(folder), digests(whole)
    told: dict[str, object] = {"verb": verb, "whole": code, "seconds": round(seconds, 2), "differs": old != new}

    largest = max(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    told["no room"] = ended(begin(site, verb, largest // 2))
    told["untouched"] = digests(folder) == old

    found = []
    for _ in range(KILLS):
        child = begin(site, verb)
        time.sleep(chance.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        killed = ended(child) == -signal.SIGKILL
        now = digests(folder)
        found.append(["ended" if not killed else "killed", "old" if now == old else "new" if now == new else "torn"])
    told["kills"] = found

    told["again"] = ended(begin(site, verb))
    told["as unbroken"] = digests(folder) == new
    beside = [path for path in (folder.parent, folder.parent / "releases") if path.is_dir()]
    told["left"] = [path.name for one in beside for path in one.glob(".*.[0-9]*")]
    return told


def main(root: Path, seed: int) -> None:
    for module, _ in LIBRARY.values():
        importlib.import_module(module)
    for verb in CHANGED:
        print(json.dumps(broken_off(root, verb, random.Random(f"{seed} {verb}"))), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
