"""A writer of the layout of `csv`, by RFC 4180: lines end in CR LF, what needs it is quoted, quotes are doubled."""

from __future__ import annotations

import gzip
from pathlib import Path

from .content import Content
from .tables import rows, write_images


def field(value: str | list[str] | None, delimiter: str) -> str:
    text = ";".join(value) if isinstance(value, list) else value or ""
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in (delimiter, '"', "\r", "\n")) else text


def write(folder: Path, content: Content, suffix: str = ".csv", mark: bool = False) -> None:
    """The tables and the pictures.

    Args:
        folder: made where it is not there.
        content: what to write.
        suffix: .csv or .tsv, or either with .gz.
        mark: with a byte order mark, as spreadsheets write it.
    """
    write_images(folder, content)
    delimiter = "," if suffix.startswith(".csv") else "\t"
    for name, table in rows(content).items():
        lines = [list(table[0]), *(list(row.values()) for row in table)]
        text = "".join(delimiter.join(field(value, delimiter) for value in line) + "\r\n" for line in lines)  # type: ignore[arg-type]
        data = text.encode("utf-8-sig" if mark else "utf-8")
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(data) if suffix.endswith(".gz") else data)
