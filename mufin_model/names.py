"""Names that a user types: where one is unknown, the nearest known one is named."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from mufin_model.errors import DatasetError


def nearest(word: str, known: Iterable[object]) -> str:
    """`did you mean 'demo'?`, or nothing where no known name is near."""
    match = difflib.get_close_matches(word, [str(name) for name in known], n=1, cutoff=0.5)
    return f"did you mean {match[0]!r}?" if match else ""


def chosen(datasets: Collection[str], registered: Iterable[object], where: str) -> list[str]:
    """The datasets asked for, each once, or all that are registered where none is.

    Raises:
        DatasetError: one is not registered.
    """
    known = [str(name) for name in registered]
    for name in datasets:
        if name not in known:
            hint = nearest(name, known) or "mufin add NAME PATH registers one"
            raise DatasetError(f"no dataset named {name!r}", where=where, rows=known, mend=hint)
    return list(dict.fromkeys(datasets)) or known
