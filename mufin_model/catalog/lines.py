"""Text files and gzipped ones as blocks of lines, so that memory stays flat whatever their size."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from mufin_model.catalog.distrust import refuse_bomb
from mufin_model.catalog.faults import apart, settle
from mufin_model.errors import CatalogError

BLOCK = 8 * 2**20
"""Bytes read at once."""
SHOWN = 1000
"""Offending lines that an error collects."""
CHARACTERS = 80
"""Of each of these."""
MAX_LINE = 64 * 2**20
"""Bytes of a line at most: a few gzipped kilobytes can unfold into gigabytes of one."""


def blocks(file: Path) -> Iterator[tuple[int, list[bytes]]]:
    """A file's lines without their ends, in blocks; it is unpacked where its name ends in .gz.

    Only line feeds end lines (a carriage return before one is dropped): the other characters that Python takes
    for line ends occur inside titles.

    Yields:
        the number of the block's first line, counted from 1, and its lines.

    Raises:
        CatalogError: the file is missing, no gzip, cut short, unfolds as no honest one does, or a line has more than
            MAX_LINE bytes.
    """
    number, rest, unfolded = 1, b"", 0
    try:
        with _open(file) as opened:
            size = file.stat().st_size
            while data := opened.read(BLOCK):
                if file.suffix == ".gz":
                    unfolded += len(data)
                    refuse_bomb(file, size, unfolded)
                lines = (rest + data).split(b"\n")
                rest = lines.pop()
                if len(rest) > MAX_LINE:
                    raise fault(file, f"a line has more than {MAX_LINE:,} bytes", [(number + len(lines), rest[:80])])
                if lines:
                    yield number, [line.removesuffix(b"\r") for line in lines]
                    number += len(lines)
        if rest:
            yield number, [rest.removesuffix(b"\r")]
    except FileNotFoundError as error:
        raise CatalogError(f"{file.name} is missing", where=str(file), mend=f"add {file.name}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise CatalogError(
            f"the file breaks off or is damaged: {error}",
            where=f"{file}, after line {number - 1:,}",
            mend="copy or download it again",
        ) from error


def fault(
    file: Path, what: str, lines: Iterable[tuple[int, object]], mend: str = "mend these lines", column: str = ""
) -> CatalogError:
    """The error that shows the offending lines.

    Args:
        file: where they are.
        what: the fault in one sentence.
        lines: their numbers, counted from 1, and contents.
        mend: what to do.
        column: that the fault is in, where it is in one.
    """
    where = f"{file}, column {column}" if column else str(file)
    return CatalogError(
        what, where=where, rows=[f"line {number:,}: {_shown(line)}" for number, line in lines], mend=mend
    )


class BadLines:
    """The offending lines of one file by what is wrong with them, so that an error counts them all.

    Args:
        file: where they are.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.lines: dict[tuple[str, str, str], list[tuple[int, object]]] = {}

    def __bool__(self) -> bool:
        return bool(self.counts)

    def add(self, number: int, line: bytes | str, what: str, column: str = "", mend: str = "mend these lines") -> None:
        """Note a line.

        Args:
            number: of the line, counted from 1.
            line: its content.
            what: the fault, as what follows "3 lines".
            column, mend: as in `fault`.
        """
        kind = (what, column, mend)
        self.counts[kind] += 1
        if self.counts[kind] <= SHOWN:
            self.lines.setdefault(kind, []).append((number, line[: CHARACTERS + 1]))

    def refuse(self) -> None:
        """Go on only where no line was noted.

        Raises:
            CatalogError: of the first fault; of each, where they are gathered.
        """
        for (what, column, mend), count in self.counts.items():
            with apart():
                lines = self.lines[what, column, mend]
                raise fault(self.file, f"{count:,} lines {what}", lines, mend, column)
        if self:
            settle()


def refuse_no_file(file: Path) -> None:
    """Refuse a pipe or a device, which would be waited on for ever.

    Raises:
        FileNotFoundError: it is one, or a folder, or nothing at all.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is no file")


def _shown(line: object) -> str:
    text = line.decode("latin-1") if isinstance(line, bytes) else str(line)
    return repr(text[:CHARACTERS]) + ("…" if len(text) > CHARACTERS else "")


def _open(file: Path) -> BinaryIO:
    refuse_no_file(file)
    if file.suffix == ".gz":
        return gzip.open(file, "rb")  # type: ignore[return-value]
    return open(file, "rb")
