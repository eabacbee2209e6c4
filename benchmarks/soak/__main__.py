"""The pipeline left to itself while things go wrong: how many runs, how many faults, what was lost.

    make soak                                  # thirty minutes; MINUTES=10 for less
    python -m benchmarks.soak --minutes 30 --seed 7 --keep FOLDER --out benchmarks/results.md

In a copy of the project with one small, drawn dataset: daemon, web interface, a Ray cluster of a head and a worker
with a declared GPU, the model's server with a client, and a feed of new versions of the catalogue. Processes are killed
by SIGKILL at random moments, chosen by the seed. At the end everything comes to rest, one more run must pass, and every
artefact, version and release is held against its hash. Exit code 1 where anything was lost.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg

from mufin_dagster import jobs, pipeline
from mufin_dagster.sync import UNDER_WAY
from mufin_model.release.shelf import Shelf

from . import verdict
from .faults import Faults
from .feed import ORDER, Feed
from .site import DATASET, Site
from .watch import Hook, Watch

ITEMS = 320
BETWEEN_FAULTS = (30.0, 100.0)
"""Seconds; the next one then strikes the next stage on the worker."""
BETWEEN_DROPS = 150.0
"""Seconds at least; the next one comes when the last was taken in."""
RETRAIN_MINUTES = 20
REST_SECONDS = 2400.0
"""For the last version to be worked through."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--keep", type=Path, help="an empty folder for the project, which stays")
    parser.add_argument("--out", type=Path, help="append the figures to this file")
    told = parser.parse_args()
    folder = (told.keep or Path(tempfile.mkdtemp(prefix="mufin-soak-"))).resolve()
    hook = Hook()
    site = Site(folder, f"*/{RETRAIN_MINUTES} * * * *", hook.url)
    try:
        text, lost = soak(site, hook, told.minutes, told.seed)
    finally:
        site.end()
        if told.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(text)
    if told.out:
        with told.out.open("a") as file:
            file.write(f"\n{text}\n")
    sys.exit(1 if lost else 0)


def soak(site: Site, hook: Hook, minutes: float, seed: int) -> tuple[str, list[str]]:
    """Run it; the figures as Markdown, and what was lost."""
    began = time.monotonic()
    chance = random.Random(seed)
    feed, faults, watch = Feed(site.folder / "feed", ITEMS, seed), Faults(site, chance), Watch(site)
    _first(site, feed)
    site.up()
    watch.begin()
    loads: list[float] = []
    next_fault, next_drop, number = began, began + BETWEEN_DROPS, 0
    while (now := time.monotonic()) < began + 60 * minutes:
        time.sleep(1)
        loads.append(os.getloadavg()[0])
        _tend(site)
        pending = feed.pending(site.drops, DATASET)
        if now > next_drop and not pending:
            feed.drop(ORDER[number % len(ORDER)], site.drops, DATASET)
            say(began, f"arrived: {feed.arrivals[-1].kind}")
            number, next_drop = number + 1, now + BETWEEN_DROPS
        if now > next_fault and (struck := faults.strike()):
            say(began, f"fault: {struck}")
            next_fault = now + chance.uniform(*BETWEEN_FAULTS)
    say(began, "no more faults; a last good version arrives")
    _rest(site, feed, began)
    faults.settle()
    site.stop("daemon")  # nothing starts by itself any more
    last = site.mufin("materialize", "-d", DATASET).wait(900)
    watch.end()
    lost = verdict.lost(site, watch, feed.last_whole(), lambda text: say(began, text))
    lost += [f"the last run ended with {last}"] if last else []
    again = verdict.rebuilt(site, lambda _: None)
    parts = [
        f"## Soak: {minutes:g} minutes, seed {seed}",
        f"{os.cpu_count()} cores, load {sum(loads) / len(loads):.1f} on average.",
        verdict.figures(site, watch, faults, hook, feed.arrivals),
        f"The first version with a report, made again at the end: {again}.",
        "\n".join(["**Lost:**", "", *(f"- {line}" for line in lost)]) if lost else "**Lost: nothing.**",
    ]
    return "\n\n".join(parts), lost


def say(began: float, text: str) -> None:
    print(f"{(time.monotonic() - began) / 60:5.1f} min  {text}", flush=True)


def _first(site: Site, feed: Feed) -> None:
    """The dataset, as `mufin add` makes it, and a first version."""
    made = feed.version("good")
    for command in (["add", DATASET, str(made)], ["data", "commit", "-m", "The first catalogue"]):
        done = site.mufin(*command)
        if done.wait(300):
            raise RuntimeError((site.logs / f"{command[0]}.log").read_text())


def _tend(site: Site) -> None:
    """What a supervisor does: start anew what has ended, and the model's server once there is a release."""
    site.mend()
    if "serve" not in site.running and Shelf(site.workspace, DATASET).current():
        site.serve()


def _rest(site: Site, feed: Feed, began: float) -> None:
    """A last version; until it is taken in and worked through, and no run is under way."""
    until = time.monotonic() + REST_SECONDS
    with dg.DagsterInstance.from_config(site.env["DAGSTER_HOME"]) as instance:

        def busy() -> bool:
            waiting = feed.pending(site.drops, DATASET) or jobs.behind(site.workspace, pipeline.load(site.root))
            return bool(waiting or instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY), limit=1))

        def wait() -> None:
            time.sleep(2)
            _tend(site)

        while feed.pending(site.drops, DATASET) and time.monotonic() < until:
            wait()
        feed.drop("good", site.drops, DATASET)
        while busy() and time.monotonic() < until:
            wait()
    say(began, "at rest")


if __name__ == "__main__":
    main()
