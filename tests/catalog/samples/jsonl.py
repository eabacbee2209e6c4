"""A writer of the layout of `jsonl`: a JSON object a line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from .content import Content
from .tables import rows, write_images


def write(folder: Path, content: Content, packed: bool = False, ascii_only: bool = False) -> None:
    """The tables and the pictures.

    Args:
        folder: made where it is not there.
        content: what to write.
        packed: gzip the tables.
        ascii_only: other characters as JSON's escapes.
    """
    write_images(folder, content)
    for name, table in rows(content).items():
        data = "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in table).encode()
        file = folder / f"{name}.jsonl{'.gz' if packed else ''}"
        file.write_bytes(gzip.compress(data) if packed else data)
