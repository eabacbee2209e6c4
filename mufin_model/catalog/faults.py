"""One fault stops a reader; while somebody asks for all of them (`mufin ingest --check`), those apart are gathered.

with gathered():                     # at its end raises what was found, several as one error
    with apart():
        raise CatalogError(...)      # noted, and what follows is looked at all the same
    settle()                         # here what follows cannot do without: leaves the block
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from mufin_model.errors import MufinError, SeveralErrors

Part = TypeVar("Part")

_found: ContextVar[list[MufinError] | None] = ContextVar("_found", default=None)


@contextmanager
def gathered() -> Iterator[None]:
    """Gather the faults of the block, in the order found.

    Raises:
        MufinError: the only fault.
        SeveralErrors: all of them.
    """
    found: list[MufinError] = []
    token = _found.set(found)
    try:
        yield
    except MufinError as error:
        _note(found, error)
    finally:
        _found.reset(token)
    if len(found) > 1:
        raise SeveralErrors(found)
    if found:
        raise found[0]


@contextmanager
def apart() -> Iterator[None]:
    """A block whose fault says nothing about what follows it.

    Raises:
        MufinError: the block's, unless faults are being gathered.
    """
    try:
        yield
    except MufinError as error:
        found = _found.get()
        if found is None:
            raise
        _note(found, error)


def settle() -> None:
    """Go on only where nothing has been found.

    Raises:
        MufinError: the last fault found.
    """
    if found := _found.get():
        raise found[-1]


def all_of(parts: Mapping[str, Callable[[], Part]]) -> dict[str, Part]:
    """What each of the parts gives, by its name; their faults are apart from one another.

    Raises:
        MufinError: one of the parts did.
    """
    done: dict[str, Part] = {}
    for name, part in parts.items():
        with apart():
            done[name] = part()
    if len(done) < len(parts):
        settle()
    return done


def _note(found: list[MufinError], error: MufinError) -> None:
    if str(error) not in map(str, found):  # `settle` raises it anew, and some rules are looked at twice
        found.append(error)
