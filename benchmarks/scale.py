"""Seconds and memory of ingest and of the suite of raw_descriptors, each in a process of its own.

    python -m benchmarks.scale                                     # 300K items, 300K labels, 5M links, 1M images
    python -m benchmarks.scale --items 30000 --labels 30000 --links 500000 --images 100000
    python -m benchmarks.scale --only formats --rows 20000         # a sample of every format
    python -m benchmarks.scale --only catalogs PATH PATH           # catalogues that are there
    python -m benchmarks.scale --only large --keep FOLDER          # keeps what was generated, and takes it up again

Prints a row a catalogue. Peaks are resident memory as the kernel counts it, pages of mapped files included.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from mufin_model import config
from mufin_model.artefacts import Workspace, read_json

REPOSITORY = Path(__file__).parents[1]
HEAD = (
    "| catalogue | items | labels | links | images | ingest | peak | suite | peak |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogs", type=Path, nargs="*", help="folders of catalogues to measure too")
    parser.add_argument("--only", choices=("large", "formats", "catalogs"))
    parser.add_argument("--items", type=int, default=300_000)
    parser.add_argument("--labels", type=int, default=300_000)
    parser.add_argument("--links", type=int, default=5_000_000)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=20_000, help="items of each format's sample")
    parser.add_argument("--keep", type=Path, help="folder to work in")
    parser.add_argument("--child", nargs=2, metavar=("STEP", "DATASET"), help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.child:
        child(told.keep, *told.child)
        return
    with tempfile.TemporaryDirectory() as temporary:
        root = (told.keep or Path(temporary)).resolve()
        root.mkdir(parents=True, exist_ok=True)
        made: dict[str, Callable[[Path], None]] = {}
        if told.only in (None, "large"):
            from benchmarks import scale_large

            sizes = scale_large.Sizes(told.items, told.labels, told.links, told.images)
            made["large"] = lambda folder: scale_large.write(folder, sizes)
        if told.only in (None, "formats"):
            from benchmarks import scale_formats

            made |= scale_formats.writers(told.rows)
        made |= {path.resolve().name: _linked(path.resolve()) for path in told.catalogs}
        settings = config.read(REPOSITORY / "params.yaml") | {"datasets": list(made), "per_dataset": {}}
        (root / "params.yaml").write_text(yaml.safe_dump(settings))
        print(HEAD, flush=True)
        for name, write in made.items():
            print(measure(Workspace(root), name, write), flush=True)


def measure(workspace: Workspace, name: str, write: Callable[[Path], None]) -> str:
    """Write a catalogue where there is none yet, ingest it, judge it: its row of the table."""
    folder = workspace.catalog(name)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        write(folder)
    cells = [figure for step in ("ingest", "suite") for figure in run(workspace.root, step, name)]
    told = read_json(workspace.path(name, "raw_descriptors") / "summary.json")
    counts = [told["items"], told["labels"], sum(told["links"].values()), told["image_paths"]]
    return f"| {name} | " + " | ".join([*(f"{count:,}" for count in counts), *cells]) + " |"


def run(root: Path, step: str, name: str) -> tuple[str, str]:
    """One step in a process of its own: seconds and peak resident memory."""
    command = [sys.executable, "-m", "benchmarks.scale", "--keep", str(root), "--child", step, name]
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    if status:
        raise SystemExit(f"{step} of {name} ended with {os.waitstatus_to_exitcode(status)}")
    unit = 1 if sys.platform == "darwin" else 1024
    return f"{seconds:,.1f} s", f"{used.ru_maxrss * unit / 2**20:,.0f} MiB"


def child(root: Path, step: str, name: str) -> None:
    """What the measured process does."""
    workspace = Workspace(root)
    if step == "ingest":
        from mufin_model.catalog import ingest

        ingest.run(workspace, name, config.load(workspace.params, name, []))
        return
    # By name: the library's side of the house, which this benchmark also serves, knows no orchestrator.
    validator = importlib.import_module("mufin_dagster.quality.validator")
    for outcome in validator.validate(workspace, name, "raw_descriptors"):
        if not outcome.passed:
            print(f"{name}: {outcome.rule.name}: {outcome.summary}", file=sys.stderr)


def _linked(path: Path) -> Callable[[Path], None]:
    return lambda folder: folder.symlink_to(path)


if __name__ == "__main__":
    main()
