"""Progress a person can follow: bars in a terminal, a plain line now and then in a log.

Set-up is the CLI's; library code only calls `track` and `say`, and keeps a `Clock` where a stage has several parts. In
a pipe (a Dagster step reads one) each line is flushed at once, and at most one in LINE_SECONDS is written.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")

LINE_SECONDS = 5.0
"""Seconds between two progress lines in a log."""


def main_rank() -> bool:
    """Whether this process is the first of those that torchrun or accelerate started, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def say(message: str) -> None:
    """One line to the person who watches."""
    if not main_rank():
        return
    if sys.stdout.isatty():
        from rich import print as rich_print

        rich_print(message)
    else:
        print(message, flush=True)


def duration(seconds: float) -> str:
    """Seconds in words, as in "40 s", "12 min" or "2 h 5 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class Clock:
    """The time left of a whole stage, from what its parts took so far.

    A part's first unit is not counted once others are known: it warms caches up, and takes longer.

    Args:
        units: units of each part that are still to do, by name.
    """

    def __init__(self, **units: int) -> None:
        self._to_do = dict(units)
        self._first: dict[str, float] = {}
        self._later: dict[str, tuple[int, float]] = {}

    def spent(self, part: str, units: int, seconds: float) -> None:
        """Note that units of a part are done, and how long they took together."""
        self._to_do[part] = max(0, self._to_do.get(part, 0) - units)
        if part not in self._first:
            self._first[part] = seconds / max(1, units)
            return
        done, before = self._later.get(part, (0, 0.0))
        self._later[part] = done + units, before + seconds

    def guess(self, part: str, seconds: float) -> None:
        """Seconds a unit of a part that has not begun."""
        self._first.setdefault(part, seconds)

    def left(self) -> float | None:
        """Seconds left of all parts whose speed is known; None while none is."""
        if not self._first:
            return None
        return sum(self._speed(part) * units for part, units in self._to_do.items() if part in self._first)

    def _speed(self, part: str) -> float:
        done, seconds = self._later.get(part, (0, 0.0))
        return seconds / done if done else self._first[part]


def track(
    items: Iterable[T], what: str, total: int | None = None, clock: Clock | None = None, part: str = ""
) -> Iterator[T]:
    """Yield from `items`, showing how far it is.

    Args:
        what: is done.
        total: number of items, where they have no length.
        clock: of the stage, whose time left is shown then in place of that of these items.
        part: of the clock's: each item is a unit of it.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if not main_rank():
        yield from items
        return
    own = Clock(items=total) if clock is None and total else clock
    timed = items if own is None else _timed(items, own, part if clock is not None else "items")
    if sys.stdout.isatty():
        from rich.progress import BarColumn, Progress, TextColumn

        shown = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        with Progress(*shown, TextColumn("{task.fields[left]}")) as bar:
            task = bar.add_task(what, total=total, left="")
            for item in timed:
                yield item
                bar.update(task, advance=1, left=_left(own))
        return
    said = time.monotonic()
    for done, item in enumerate(timed):
        now = time.monotonic()
        if now - said >= LINE_SECONDS:
            said = now
            of, left = f"/{total}" if total else "", _left(own)
            print(f"{what}: {done}{of}{', ' if left else ''}{left}", flush=True)
        yield item


def _timed(items: Iterable[T], clock: Clock, part: str) -> Iterator[T]:
    began = time.monotonic()
    for item in items:
        yield item
        now = time.monotonic()
        clock.spent(part, 1, now - began)
        began = now


def _left(clock: Clock | None) -> str:
    seconds = None if clock is None else clock.left()
    return "" if seconds is None else f"{duration(seconds)} left"
