"""A JSON file of one list or one object, read entry by entry, so that memory stays flat whatever its size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from mufin_model.catalog.distrust import Unreadable, in_words
from mufin_model.catalog.lines import refuse_no_file
from mufin_model.errors import CatalogError

BLOCK = 4 * 2**20
"""Characters read at once."""
MAX_ENTRY = 16 * 2**20
"""Characters of one entry at most."""


def entries(file: Path, kind: type[list[Any]] | type[dict[str, Any]]) -> Iterator[tuple[int | str, Any]]:
    """The entries of a file's list with their numbers, counted from 0; or those of its object with their keys.

    Args:
        file: UTF-8.
        kind: `list` or `dict`, what the file must hold.

    Raises:
        CatalogError: the file is missing, no JSON, of the other kind, cut short, or an entry has over MAX_ENTRY
            characters.
    """
    number = 0
    try:
        refuse_no_file(file)
        with open(file, encoding="utf-8-sig") as opened:
            text = _Text(opened)
            if text.take() != ("[" if kind is list else "{"):
                raise Unreadable(f"the file does not begin as {'a list' if kind is list else 'an object'}")
            close = "]" if kind is list else "}"
            if text.peek() == close:
                text.take()
            else:
                while True:
                    key: int | str = number
                    if kind is dict:
                        key = text.value()
                        if not isinstance(key, str) or text.take() != ":":
                            raise Unreadable("a key and a colon are expected")
                    yield key, text.value()
                    number += 1
                    after = text.take()
                    if after == close:
                        break
                    if after != ",":
                        raise Unreadable(f"{after!r} follows the entry" if after else "the file breaks off")
            if text.peek():
                raise Unreadable("something follows the end")
    except FileNotFoundError as error:
        raise CatalogError(f"{file.name} is missing", where=str(file), mend=f"add {file.name}") from error
    except (OSError, ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise CatalogError(
            f"no readable JSON: {in_words(error)}",
            where=f"{file}, entry {number:,}",
            mend="copy or download it again",
        ) from error


def whole(text: str) -> str:
    """The text without lone surrogates, which JSON can write but no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


class _Text:
    """A file's text from a place on, of which only what is not yet read is kept."""

    def __init__(self, opened: TextIO) -> None:
        self.opened, self.held, self.at = opened, "", 0
        self.decode = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """The next character that is no white space, "" at the end."""
        while True:
            while self.at < len(self.held):
                if not self.held[self.at].isspace():
                    return self.held[self.at]
                self.at += 1
            if not self._fill():
                return ""

    def take(self) -> str:
        """As `peek`, and step over it."""
        found = self.peek()
        self.at += len(found)
        return found

    def value(self) -> Any:
        """The next value; something must follow it, as a number could go on in the next block.

        Raises:
            ValueError: it is none, breaks off, or is too long.
        """
        self.peek()
        while True:
            try:
                value, end = self.decode(self.held, self.at)
            except ValueError:
                if len(self.held) - self.at > MAX_ENTRY:
                    raise Unreadable(f"no value within {MAX_ENTRY:,} characters") from None
                if not self._fill():
                    raise
                continue
            if end < len(self.held) or not self._fill():
                self.at = end
                return value

    def _fill(self) -> bool:
        data = self.opened.read(BLOCK)
        self.held, self.at = self.held[self.at :] + data, 0
        return bool(data)
