"""Progress a person can follow: bars in a terminal, a plain line now and then in a log.

Set-up is the CLI's; library code only calls `track` and `say`. In a pipe (a Dagster step reads one)
each line is flushed at once, and at most one a second is written for each bar.
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


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield from `items`, showing how far it is."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    if not main_rank():
        yield from items
        return
    if sys.stdout.isatty():
        from rich.progress import track as rich_track

        yield from rich_track(items, description=what, total=total)
        return
    began = said = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - said >= LINE_SECONDS:
            said = now
            of = f"/{total}" if total else ""
            left = f", {(now - began) / done * (total - done):.0f} s left" if total and done else ""
            print(f"{what}: {done}{of}{left}", flush=True)
        yield item
