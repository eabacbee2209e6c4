"""Artefacts sent between machines: files by the hash of their content under an fsspec URL.

    digest = Store("s3://bucket/shop").push(workspace.path("demo", "pretrained_model"))
    Store("s3://bucket/shop", cache).fetch(digest, there)     # byte for byte, or an error

`objects/ab/abcd...` holds files and listings of folders, each named by its hash: what is there already is not sent
again, whatever arrives is checked, and nothing that is read can change. `names/` holds the few names that move, each
one small object and so written whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from mufin_model import owners
from mufin_model.artefacts import disk, swap
from mufin_model.errors import ArtefactError, SettingError

WHOLE = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")
"""Protocols by which an object is there when all of it is; by others it is written aside and renamed."""
THREADS = 8
"""Files under way at once."""
BLOCK = 1 << 20


class Store:
    """Content under a URL, as seen from one machine.

    Args:
        url: any that fsspec knows; credentials and end points come from the environment.
        cache: a local folder that keeps what was fetched, from which later fetches link.

    Raises:
        SettingError: fsspec does not know the protocol, or lacks its library.
    """

    def __init__(self, url: str, cache: Path | None = None) -> None:
        from fsspec.core import url_to_fs

        try:
            self._fs, root = url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
        except (ValueError, ImportError) as error:
            raise SettingError(
                str(error), where="execution.work", mend="a URL of fsspec, as in s3://bucket/folder ('mufin[s3]')"
            ) from error
        self._root = root.rstrip("/")
        protocols = (self._fs.protocol,) if isinstance(self._fs.protocol, str) else self._fs.protocol
        self._whole = any(name in WHOLE for name in protocols)
        self._cache = cache

    def push(self, path: Path) -> str:
        """Send a file or folder, what is there already excepted; the digest by which it is fetched."""
        listing = {name: [digest_of(file), file.stat().st_size] for name, file in _files(path)}
        told = json.dumps({"folder": path.is_dir(), "files": listing}, sort_keys=True).encode()
        sent = {digest: (path / name, size) for name, (digest, size) in listing.items()}
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda item: self._send(item[0], *item[1]), sent.items()))
        digest = hashlib.sha256(told).hexdigest()
        self._write(self._object(digest), told)  # last: a listing is there when all of its files are
        return digest

    def fetch(self, digest: str, path: Path) -> None:
        """Make `path` what was pushed, replaced by one rename; files that it has already are not fetched.

        Raises:
            ArtefactError: something is not there, or not what its name says.
            DiskError: there is no room for it.
        """
        listing = self._listing(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.parent / f".{path.name}.{owners.token()}"
        wanted = {name: found for name, (found, _) in listing["files"].items()}
        present = {name: digest_of(file) for name, file in _files(path)} if path.exists() else {}
        if path.exists() and listing["folder"] == path.is_dir() and present == wanted:
            return
        had = {found: path / name for name, found in present.items()}
        shutil.rmtree(aside, ignore_errors=True)
        aside.unlink(missing_ok=True)
        try:
            with disk(path):
                if listing["folder"]:
                    aside.mkdir()
                with ThreadPoolExecutor(THREADS) as pool:
                    jobs = [(found, aside / name, had.get(found)) for name, found in wanted.items()]
                    list(pool.map(lambda job: self._get(*job), jobs))
            if listing["folder"]:
                swap(aside, path)
            else:
                os.replace(aside, path)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def name(self, name: str, digest: str) -> None:
        """Let a name stand for a digest."""
        self._write(f"{self._root}/names/{name}", digest.encode())

    def named(self, name: str) -> str | None:
        """The digest that a name stands for."""
        try:
            return str(self._fs.cat_file(f"{self._root}/names/{name}").decode())
        except FileNotFoundError:
            return None

    def keep(self, digest: str) -> None:
        """Remove all content but what this digest stands for."""
        kept = {digest, *(found for found, _ in self._listing(digest)["files"].values())}
        with suppress(FileNotFoundError):
            for path in self._fs.find(f"{self._root}/objects"):
                if path.rsplit("/", 1)[-1] not in kept:
                    self._fs.rm_file(path)

    def clear(self) -> None:
        """Remove everything under the URL."""
        with suppress(FileNotFoundError):
            self._fs.rm(self._root, recursive=True)

    def _listing(self, digest: str) -> dict[str, dict[str, tuple[str, int]]]:
        path = self._object(digest)
        try:
            told: bytes = self._fs.cat_file(path)
        except FileNotFoundError as error:
            raise _missing(path) from error
        if hashlib.sha256(told).hexdigest() != digest:
            raise _damaged(path)
        listing: dict[str, dict[str, tuple[str, int]]] = json.loads(told)
        return listing

    def _send(self, digest: str, file: Path, size: int) -> None:
        target = self._object(digest)
        with suppress(FileNotFoundError):
            if self._fs.info(target)["size"] == size:
                return
        aside = target if self._whole else f"{target}.{uuid.uuid4().hex}"
        if not self._whole:
            self._fs.makedirs(self._fs._parent(target), exist_ok=True)
        self._fs.put_file(str(file), aside)
        if aside != target:
            self._fs.mv(aside, target)

    def _get(self, digest: str, target: Path, had: Path | None) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        kept = self._cache / digest[:2] / digest if self._cache else None
        for source in (had, kept):
            if source and source.is_file():
                with suppress(FileNotFoundError):  # another step pruned the cache meanwhile
                    _link(source, target)
                    os.utime(source)
                    return
        path = self._object(digest)
        try:
            self._fs.get_file(path, str(target))
        except FileNotFoundError as error:
            raise _missing(path) from error
        if digest_of(target) != digest:
            raise _damaged(path)
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            aside = kept.with_name(f"{kept.name}.{uuid.uuid4().hex}")
            _link(target, aside)
            os.replace(aside, kept)

    def _write(self, path: str, content: bytes) -> None:
        if self._whole:
            self._fs.pipe_file(path, content)
            return
        self._fs.makedirs(self._fs._parent(path), exist_ok=True)
        aside = f"{path}.{uuid.uuid4().hex}"
        self._fs.pipe_file(aside, content)
        self._fs.mv(aside, path)

    def _object(self, digest: str) -> str:
        return f"{self._root}/objects/{digest[:2]}/{digest}"


def digest_of(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prune(cache: Path, gigabytes: float) -> None:
    """Remove from a cache what was not used for longest, until the rest fits."""
    files = [(entry.stat(), entry) for entry in cache.glob("*/*") if entry.is_file()]
    room = gigabytes * 1e9
    for stat, file in sorted(files, key=lambda item: item[0].st_mtime, reverse=True):
        room -= stat.st_size
        if room < 0:
            file.unlink(missing_ok=True)


def _files(path: Path) -> list[tuple[str, Path]]:
    """Name below `path` and file, of a folder; of a file, the empty name and itself."""
    if path.is_file():
        return [("", path)]
    return [(file.relative_to(path).as_posix(), file) for file in sorted(path.rglob("*")) if file.is_file()]


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def _missing(path: str) -> ArtefactError:
    return ArtefactError(
        "what was sent is not there", where=path, mend="materialize it again: it is sent anew", may_pass=True
    )


def _damaged(path: str) -> ArtefactError:
    return ArtefactError(
        "the content is not what its name says",
        where=path,
        mend="remove this object and materialize again",
        may_pass=True,  # it may have been broken on the way
    )
