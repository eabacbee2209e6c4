"""Text files and gzipped ones as blocks of lines, so that memory stays flat whatever their size."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from mufin_model.catalog.distrust import Unreadable, in_words, refuse_bomb
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
    """A file's lines without their ends, in blocks; unpacked where it is gzipped, as UTF-8 where it is UTF-16 or 32.

    Only line feeds end lines (a carriage return before one is dropped): the other characters that Python takes
    for line ends occur inside titles. In a file that has none, carriage returns end lines, as on old Macs.

    Yields:
        the number of the block's first line, counted from 1, and its lines.

    Raises:
        CatalogError: the file is missing, no gzip, cut short, unfolds as no honest one does, or a line has more than
            MAX_LINE bytes.
    """
    number, rest, unfolded, mac = 1, b"", 0, False
    try:
        with _open(file) as opened:
            size = file.stat().st_size
            while data := opened.read(BLOCK):
                mac = mac if unfolded else _old_mac(data)
                if mac:
                    data = data.replace(b"\r", b"\n")
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
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise CatalogError(
            f"the file breaks off or is damaged: {in_words(error)}",
            where=f"{file}, after line {number - 1:,}",
            mend="copy or download it again",
        ) from error


def oddities(file: Path) -> list[str]:
    """What `blocks` reads otherwise than plain lines of UTF-8, for the log."""
    notes = []
    with suppress(OSError, EOFError, zlib.error, UnicodeError), _open(file) as opened:
        if isinstance(opened, _Recoded):
            notes.append(f"{file.name}: read as {opened.encoding.upper()}")
        if _old_mac(opened.read(BLOCK)):
            notes.append(f"{file.name}: carriage returns end its lines")
        if _zipped(file) and file.suffix != ".gz":
            notes.append(f"{file.name}: gzipped, whatever its name")
    return notes


class _Recoded:
    """A stream of UTF-16 or UTF-32 as UTF-8."""

    def __init__(self, opened: BinaryIO, encoding: str) -> None:
        self.opened, self.encoding = opened, encoding
        self.decoder = codecs.getincrementaldecoder(encoding)()

    def read(self, size: int) -> bytes:
        """About that many bytes, none at the end."""
        while data := self.opened.read(size):
            if text := self.decoder.decode(data):
                return text.removeprefix("\ufeff").encode(errors="replace")
        return self.decoder.decode(b"", final=True).encode(errors="replace")

    def __enter__(self) -> _Recoded:
        return self

    def __exit__(self, *_: object) -> None:
        self.opened.close()


def _wide(head: bytes) -> str | None:
    """The encoding of a file that begins so, where it takes two or four bytes a character."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # Without a mark: every other byte of ASCII is zero.
    if len(head) >= 16 and not any(head[1::2]) and all(head[::2]):
        return "utf-16-le"
    return "utf-16-be" if len(head) >= 16 and not any(head[::2]) and all(head[1::2]) else None


def _old_mac(data: bytes) -> bool:
    return b"\n" not in data and b"\r" in data.rstrip(b"\r") + data[-1:] * (len(data) < BLOCK)


def _zipped(file: Path) -> bool:
    with open(file, "rb") as opened:
        return opened.read(2) == b"\x1f\x8b"


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


def _open(file: Path) -> BinaryIO | _Recoded:
    refuse_no_file(file)
    zipped = _zipped(file)
    if file.suffix == ".gz" and not zipped and file.stat().st_size:
        raise Unreadable("it is not gzipped, although its name ends in .gz")
    opened: BinaryIO = gzip.open(file, "rb") if zipped else open(file, "rb")  # type: ignore[assignment]  # noqa: SIM115
    head = opened.read(32)
    opened.seek(0)
    wide = _wide(head)
    return _Recoded(opened, wide) if wide else opened
