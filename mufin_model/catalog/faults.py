"""One fault stops a reader; while somebody asks for all of them (`mufin ingest --check`), those apart are gathered.

with gathered() as found:
    with apart():
        raise CatalogError(...)      # noted, and what follows is looked at all the same
    settle()                         # here what follows cannot do without: leaves the block
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from mufin_model.errors import MufinError

_found: ContextVar[list[MufinError] | None] = ContextVar("_found", default=None)


@contextmanager
def gathered() -> Iterator[list[MufinError]]:
    """Gather the faults of the block, in the order found; none of them leaves it."""
    found: list[MufinError] = []
    token = _found.set(found)
    try:
        yield found
    except MufinError as error:
        if all(error is not known for known in found):
            found.append(error)
    finally:
        _found.reset(token)


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
        if all(error is not known for known in found):
            found.append(error)


def settle() -> None:
    """Go on only where nothing has been found.

    Raises:
        MufinError: the last fault found.
    """
    if found := _found.get():
        raise found[-1]
