"""Why image paths lead to no file: URLs, paths of another machine, other spellings of names that are there."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

EXAMPLES = 3
URL = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]+:/")
"""A scheme of two letters or more: a drive has one."""
FETCH = "mufin fetch-images {folder} NEW-FOLDER downloads them and writes the tables anew"


@dataclass(frozen=True)
class Finding:
    """What one kind of path is: how many, a clause for the message, a hint, and examples."""

    count: int
    what: str
    hint: str
    examples: list[str]


def _stem(path: str) -> str:
    return os.path.splitext(path)[0]


SPELLINGS: dict[str, tuple[Callable[[str], str], str]] = {
    "backslashes in place of slashes": (lambda path: path.replace("\\", "/"), "write / in place of each \\"),
    "spaces or quotes around them": (lambda path: path.strip(" \t\"'"), "remove these around the paths"),
    "small and capital letters": (str.casefold, "write the names as the files have them"),
    "how accents are written (Unicode NFC and NFD)": (
        lambda path: unicodedata.normalize("NFC", path),
        "write the names as the files have them: unicodedata.normalize, or convmv -f utf8 -t utf8 --nfc",
    ),
    "percent signs of a URL (%20)": (unquote, "write the letters themselves: urllib.parse.unquote"),
    "their endings (.jpg, .jpeg, .png)": (_stem, "write the endings that the files have"),
}
"""How a path may differ from a file's: what makes both alike, and the hint."""


def explain(folder: Path, paths: Iterable[str]) -> Finding | None:
    """The commonest reason for which paths lead to no file; None where nothing explains them.

    Args:
        folder: of the catalogue.
        paths: distinct, those that lead to no file.
    """
    paths = list(paths)
    urls = [path for path in paths if URL.match(path)]
    found = [Finding(len(urls), "are URLs, not files", FETCH.format(folder=folder), urls[:EXAMPLES])] if urls else []
    rest = [path for path in paths if not URL.match(path)]
    if rest:
        files = _files(folder)
        found += [one for one in (_joined(rest, files), *_spelt(rest, files), _placed(rest, files)) if one]
    return max(found, key=lambda one: one.count, default=None)


def missing(folder: Path, paths: Iterable[str]) -> list[str]:
    """The paths that lead to no file below the folder, or out of it."""
    files = set(_files(folder))
    return [path for path in paths if os.path.normpath(path) not in files and not _is_file(folder, path)]


def _is_file(folder: Path, path: str) -> bool:
    return "\0" not in path and not URL.match(path) and os.path.lexists(os.path.join(folder, path))


def _files(folder: Path) -> list[str]:
    return [
        os.path.relpath(os.path.join(here, name), folder)
        for here, _, names in os.walk(folder)
        for name in sorted(names)
    ]


def _spelt(paths: list[str], files: list[str]) -> list[Finding]:
    found = []
    for what, (alike, hint) in SPELLINGS.items():
        there = {alike(file): file for file in files}
        pairs = [(path, file) for path in paths if (file := there.get(os.path.normpath(alike(path)))) is not None]
        if pairs:
            examples = [f"{path!r}: the file is {file!r}" for path, file in pairs[:EXAMPLES]]
            found.append(Finding(len(pairs), f"are files but for {what}", hint, examples))
    return found


def _placed(paths: list[str], files: list[str]) -> Finding | None:
    """Paths whose name is that of a file in another folder: of another machine, or without the folder images/."""
    named: dict[str, list[str]] = {}
    for file in files:
        named.setdefault(os.path.basename(file), []).append(file)
    pairs = []
    for path in paths:
        like = named.get(re.split(r"[/\\]", path)[-1], [])
        if len(like) == 1 and like[0] != path:
            pairs.append((path, like[0]))
    if not pairs:
        return None
    folders = sorted({os.path.dirname(file) or "." for _, file in pairs})
    hint = f"write the paths from the catalogue's folder on: the files lie in {', '.join(folders[:3])}"
    examples = [f"{path!r}: the file is {file!r}" for path, file in pairs[:EXAMPLES]]
    return Finding(len(pairs), "name files that lie in another folder", hint, examples)


def _joined(paths: list[str], files: list[str]) -> Finding | None:
    """Several paths in one: joined by another sign than the reader's, or a list written as text."""
    there = set(files)
    found = []
    for path in paths:
        parts = [part.strip(" '\"[]") for part in re.split(r"[,;|\s]", path)]
        parts = [part for part in parts if part]
        listed = len(parts) > 1 or path.strip().startswith("[")
        if listed and parts and all(os.path.normpath(part) in there for part in parts):
            found.append(path)
    hint = "join the paths of a cell by ; in CSV, and write lists of strings in JSON and Parquet"
    what = "hold several paths, or a list written as text"
    return Finding(len(found), what, hint, [repr(path) for path in found[:EXAMPLES]]) if found else None
