"""Lines of text whatever the encoding that an exporter chose; what is certain is read and noted, the rest is refused.

UTF-8 is read as it is, UTF-16 and UTF-32 by their marks (lines.blocks). A file that is not UTF-8 is read as
Windows-1252 where all of it says so: no line with other letters is UTF-8, and each of its letters beyond ASCII stands
in a word of Latin letters.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from mufin_model.catalog.lines import BadLines, blocks, oddities
from mufin_model.errors import CatalogError

WESTERN = "cp1252"
SIGNATURES = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook: save the table as CSV UTF-8, or unpack it",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save the table as CSV UTF-8",
    b"PAR1": "Parquet: call it .parquet",
    b"BZh": "packed by bzip2: unpack it, or pack it by gzip as .csv.gz",
    b"\xfd7zXZ": "packed by xz: unpack it, or pack it by gzip as .csv.gz",
    b"\x28\xb5\x2f\xfd": "packed by zstd: unpack it, or pack it by gzip as .csv.gz",
}
"""How files begin that are no text, and what they are."""

_LETTER = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u00ff\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192"
_MARK_IN_WORD = re.compile(rf"[{_LETTER}][^\x00-\x7f{_LETTER}\u2018\u2019\u00b7\u2013\u2014][{_LETTER}]")
_FOREIGN_WORD = re.compile(r"[^\x00-\x7f]{3}")
_WESTERN_WORD = re.compile(rf"[A-Za-z][^\x00-\x7f]|[^\x00-\x7f][A-Za-z]|[^\x00-\x7f{_LETTER}]")

_UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}")


def texts(file: Path, bad: BadLines, notes: list[str]) -> Iterator[tuple[int, list[str]]]:
    """A file's lines without their ends, in blocks, each with the number of its first line, counted from 1.

    Args:
        file: plain or gzipped.
        bad: is given the lines that cannot be decoded; these are yielded with marks in place of their letters.
        notes: is given what was certain enough to be read otherwise than as plain UTF-8.

    Raises:
        CatalogError: the file is missing, damaged or no text.
    """
    _refuse_no_text(file)
    notes += oddities(file)
    encoding = "utf-8"
    for first, lines in blocks(file):
        if first == 1:
            lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
        try:
            yield first, [line.decode(encoding) for line in lines]
            continue
        except UnicodeDecodeError:
            if encoding == "utf-8" and _is_western(file):
                encoding = WESTERN
                notes.append(f"{file.name}: not UTF-8, read as Windows-1252")
        yield first, [_decoded(line, encoding, number, bad) for number, line in enumerate(lines, first)]


def _decoded(line: bytes, encoding: str, number: int, bad: BadLines) -> str:
    try:
        return line.decode(encoding)
    except UnicodeDecodeError:
        mend = "save it as UTF-8 (a spreadsheet calls it CSV UTF-8), or: iconv -f ITS-ENCODING -t UTF-8"
        bad.add(number, line, "are not UTF-8", mend=mend)
        return line.decode(errors="replace")


def _is_western(file: Path) -> bool:
    for _, lines in blocks(file):
        for line in lines:
            if line.isascii():
                continue
            try:
                line.decode()
            except UnicodeDecodeError:
                pass
            else:
                return False  # a file of two encodings
            if _UTF8.search(line):
                return False
            try:
                text = line.decode(WESTERN)
            except UnicodeDecodeError:
                return False
            if _MARK_IN_WORD.search(text) or _FOREIGN_WORD.search(text) or not _WESTERN_WORD.search(text):
                return False
    return True


def _refuse_no_text(file: Path) -> None:
    if not file.is_file():
        return  # which `blocks` tells of
    with open(file, "rb") as opened:
        head = opened.read(8)
    for start, told in SIGNATURES.items():
        if head.startswith(start):
            what, _, mend = told.partition(": ")
            raise CatalogError(f"the file is {what}, not text", where=str(file), mend=mend)
