"""Every error a user can cause: what is wrong, where, the first offending rows, and how to mend it.

The same text is shown by the CLI (exit code 2), in a failed Dagster step and in reports.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence


class MufinError(Exception):
    """A mistake in data or settings that its owner can mend.

    Args:
        what: the fault in one sentence.
        where: the file, with the column or key where there is one.
        rows: the first offending rows or values, shown at most five.
        mend: what to do about it, in the imperative.
        may_pass: the same command may succeed a moment later. So it may after an OSError of PASSING that caused this.
    """

    SHOWN = 5

    def __init__(
        self, what: str, *, where: str = "", rows: Sequence[object] = (), mend: str = "", may_pass: bool = False
    ) -> None:
        self._may_pass = may_pass
        self.what, self.where, self.rows, self.mend = what, where, list(rows), mend
        super().__init__(what)

    @property
    def may_pass(self) -> bool:
        """Whether it may be gone when the same is tried again."""
        return self._may_pass or passing(self.__cause__)

    def __str__(self) -> str:
        lines = [f"{type(self).__name__}: {_plain(self.what)}"]
        if self.where:
            lines.append(f"  where: {_plain(self.where)}")
        for row in self.rows[: self.SHOWN]:
            lines.append("         " + _plain(str(row)).replace("\n", "\\n")[:300])
        if len(self.rows) > self.SHOWN:
            lines.append(f"         … and {len(self.rows) - self.SHOWN:,} more")
        if self.mend:
            lines.append(f"  mend:  {self.mend}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.where, self.rows, self.mend, self.may_pass)


PASSING = {
    getattr(errno, name)
    for name in (
        *("ESTALE", "EIO", "ETIMEDOUT", "EAGAIN", "EBUSY", "ENOLCK", "ECONNRESET", "ECONNREFUSED", "ECONNABORTED"),
        *("EPIPE", "EHOSTUNREACH", "EHOSTDOWN", "ENETUNREACH", "ENETDOWN", "ENETRESET", "EREMOTEIO", "ENOTCONN"),
    )
    if hasattr(errno, name)
}
"""Of a network, or of a file system over one: away for a moment."""


def passing(error: BaseException | None) -> bool:
    """Whether an error, or one it came of, is of a kind that goes away."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, TimeoutError | ConnectionError) or getattr(error, "errno", None) in PASSING:
            return True
        if isinstance(error, MufinError) and error.may_pass:
            return True
        error = error.__cause__
    return False


def _plain(text: str) -> str:
    """Text that cannot steer the terminal it is shown on: no escape codes, no direction marks, no lone surrogates."""
    return "".join(sign if sign.isprintable() or sign == "\n" else repr(sign)[1:-1] for sign in text)


def _rebuild(
    kind: type[MufinError], what: str, where: str, rows: list[object], mend: str, may_pass: bool
) -> MufinError:
    return kind(what, where=where, rows=rows, mend=mend, may_pass=may_pass)


SYSTEM = {
    errno.ENOENT: "is missing",
    errno.EACCES: "may not be read or written",
    errno.EPERM: "may not be read or written",
    errno.EROFS: "lies on a disk that is read-only",
    errno.ENOSPC: "no space is left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than is allowed",
    errno.ENAMETOOLONG: "its name is too long",
    errno.ENOTDIR: "a file is in the place of a folder",
    errno.EISDIR: "is a folder",
    errno.EEXIST: "is there already",
    errno.ENOTEMPTY: "the folder is not empty",
    errno.ELOOP: "links that lead in a circle",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open",
    errno.EIO: "the disk does not answer rightly",
    errno.EBUSY: "is in use",
    errno.ETXTBSY: "is in use",
    errno.EXDEV: "lies on another disk",
    errno.ENOMEM: "it needs more memory than there is",
    errno.ESTALE: "the shared folder has changed under way",
    errno.EADDRINUSE: "the port is taken",
    errno.ECONNREFUSED: "nobody answers there",
    errno.ETIMEDOUT: "no answer in time",
}
"""What the system's errors mean, by their number."""


def of_system(error: OSError) -> str:
    """An error of the operating system in our words."""
    return SYSTEM.get(error.errno or 0, f"the system refuses it (error {error.errno})")


class Unreadable(OSError, ValueError):
    """Why something cannot be read, in our own words, which `in_words` passes on."""


def in_words(error: BaseException) -> str:
    """Why a decoder or the system could not read something, in our words; theirs stay in the error's cause."""
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, UnicodeError):
        return "its letters are in no encoding that is read"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if isinstance(error, OSError) and error.errno:
        return of_system(error)
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON at line {error.lineno:,}, column {error.colno:,}"
    return "it is cut short or damaged, or of another kind"


class CatalogError(MufinError):
    """The catalogue's tables break a rule: a missing column, a duplicate id, a link to an unknown id."""


class ImageError(MufinError):
    """An image is missing or does not decode."""


class SeveralErrors(MufinError):
    """Several faults at once, each told in full.

    Args:
        errors: two or more.
    """

    def __init__(self, errors: Sequence[MufinError]) -> None:
        self.errors = list(errors)
        first = self.errors[0]
        super().__init__(
            f"{len(self.errors)} faults", where=first.where, rows=[error.what for error in self.errors], mend=first.mend
        )

    @property
    def may_pass(self) -> bool:
        return all(error.may_pass for error in self.errors)

    def __str__(self) -> str:
        return "\n".join([*map(str, self.errors), f"{len(self.errors)} faults in all"])

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.errors,)


class SettingError(MufinError):
    """A setting is unknown or out of range."""


class ArtefactError(MufinError):
    """An artefact that a stage reads is missing or damaged."""


class AccessError(MufinError):
    """The operating system refuses a file, a folder or a port."""


class DiskError(MufinError):
    """The disk is full, or a quota or a limit on a file's size is reached."""


class DatasetError(MufinError):
    """A dataset's name is unknown, taken or not allowed."""


class LibraryError(MufinError):
    """The library that runs is not the one that is recorded."""


class RequestError(MufinError):
    """A request to the served model is not as it should be."""
