"""Seconds and memory of ingest and of the suite of raw_descriptors, each in a process of its own.

    python -m benchmarks.scale                                     # 300K items, 300K labels, 5M links, 1M images
    python -m benchmarks.scale --items 30000 --labels 30000 --links 500000 --images 100000
    python -m benchmarks.scale --only formats --rows 20000         # a sample of every format
    python -m benchmarks.scale --only csv                          # of one of them
    python -m benchmarks.scale --only tables                       # the large tables read and checked, in three formats
    python -m benchmarks.scale --only catalogs PATH PATH           # catalogues that are there
    python -m benchmarks.scale --only large --keep FOLDER          # keeps what was generated, and takes it up again

Prints a row a catalogue. Peaks are resident memory as the kernel counts it, pages of mapped files included. A process
inherits its parent's peak: this one stays small by leaving also the writing to others.
"""

from __future__ import annotations

import argparse
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
FORMATS = ("csv", "jsonl", "xc", "mm_amazon", "lf", "polyvore", "a2q")
TABLES = ("generic", "csv", "jsonl")
"""Formats of the generic tables."""
HEAD = (
    "| catalogue | items | labels | links | images | ingest | peak | suite | peak |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogs", type=Path, nargs="*", help="folders of catalogues to measure too")
    parser.add_argument("--only", choices=("large", "formats", "tables", "catalogs", *FORMATS))
    parser.add_argument("--items", type=int, default=300_000)
    parser.add_argument("--labels", type=int, default=300_000)
    parser.add_argument("--links", type=int, default=5_000_000)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=20_000, help="items of each format's sample")
    parser.add_argument("--keep", type=Path, help="folder to work in")
    parser.add_argument("--child", nargs=3, metavar=("ROOT", "STEP", "DATASET"), help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.child:
        root, step, name = told.child
        STEPS[step](Workspace(Path(root)), name, told)
        return
    names = ["large"] if told.only in (None, "large") else []
    names += FORMATS if told.only in (None, "formats") else [name for name in FORMATS if name == told.only]
    names += [f"tables_{name}" for name in TABLES] if told.only in (None, "tables") else []
    names += [path.resolve().name for path in told.catalogs]
    with tempfile.TemporaryDirectory() as temporary:
        root = (told.keep or Path(temporary)).resolve()
        root.mkdir(parents=True, exist_ok=True)
        settings = config.read(REPOSITORY / "params.yaml") | {"datasets": names, "per_dataset": {}}
        (root / "params.yaml").write_text(yaml.safe_dump(settings))
        print(HEAD, flush=True)
        for name in names:
            print(measure(Workspace(root), name), flush=True)


def measure(workspace: Workspace, name: str) -> str:
    """Write a catalogue where there is none yet, ingest it, judge it: its row of the table."""
    if not workspace.catalog(name).exists():
        run(workspace.root, "write", name)
    if name.startswith("tables_"):
        return f"| {name} | | | | | " + " | ".join(run(workspace.root, "read", name)) + " | | |"
    cells = [figure for step in ("ingest", "suite") for figure in run(workspace.root, step, name)]
    told = read_json(workspace.path(name, "raw_descriptors") / "summary.json")
    counts = [told["items"], told["labels"], sum(told["links"].values()), told["image_paths"]]
    return f"| {name} | " + " | ".join([*(f"{count:,}" for count in counts), *cells]) + " |"


def run(root: Path, step: str, name: str) -> tuple[str, str]:
    """One step in a process of its own: seconds and peak resident memory."""
    command = [sys.executable, "-m", "benchmarks.scale", *sys.argv[1:], "--child", str(root), step, name]
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    if status:
        raise SystemExit(f"{step} of {name} ended with {os.waitstatus_to_exitcode(status)}")
    unit = 1 if sys.platform == "darwin" else 1024
    return f"{seconds:,.1f} s", f"{used.ru_maxrss * unit / 2**20:,.0f} MiB"


def write(workspace: Workspace, name: str, told: argparse.Namespace) -> None:
    """Generate a catalogue, or link to the one that is there."""
    from benchmarks import scale_formats, scale_large

    folder = workspace.catalog(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    there = {path.resolve().name: path.resolve() for path in told.catalogs}
    if name in there:
        folder.symlink_to(there[name])
    elif name in FORMATS:
        scale_formats.write(folder, name, told.rows)
    else:
        sizes = scale_large.Sizes(told.items, told.labels, told.links, told.images)
        if name == "large":
            scale_large.write(folder, sizes)
        else:
            scale_large.write_tables(folder, sizes, name.removeprefix("tables_"))


def ingest(workspace: Workspace, name: str, told: argparse.Namespace) -> None:
    """As `mufin ingest`."""
    from mufin_model.catalog import ingest

    ingest.run(workspace, name, config.load(workspace.params, name, []))


def read(workspace: Workspace, name: str, told: argparse.Namespace) -> None:
    """What `mufin add` looks at: the tables, and no picture."""
    from mufin_model.catalog import readers, schema

    schema.check(readers.read(workspace.catalog(name), "auto"))


def suite(workspace: Workspace, name: str, told: argparse.Namespace) -> None:
    """As `mufin validate` judges raw_descriptors; what does not hold goes to standard error."""
    from mufin_dagster.quality import validator

    for outcome in validator.validate(workspace, name, "raw_descriptors"):
        if not outcome.passed:
            print(f"{name}: {outcome.rule.name}: {outcome.summary}", file=sys.stderr)


STEPS: dict[str, Callable[[Workspace, str, argparse.Namespace], None]] = {
    "write": write,
    "ingest": ingest,
    "read": read,
    "suite": suite,
}

if __name__ == "__main__":
    main()
