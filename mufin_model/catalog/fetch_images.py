"""`mufin fetch-images FOLDER NEW`: a catalogue whose image paths are URLs, with the pictures beside it.

    NEW/items.parquet, labels.parquet, train.parquet, ...    the tables, with paths below images/ in place of URLs
    NEW/images/                                              each URL's picture once, named by a hash of the URL

What is there already is not fetched again, so the same command goes on after Ctrl-C. FOLDER is left as it is.
"""

from __future__ import annotations

import hashlib
import os
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path

import polars as pl

from mufin_model.catalog import readers
from mufin_model.catalog.path_faults import URL
from mufin_model.errors import CatalogError, ImageError
from mufin_model.progress import say, track

SCHEMES = ("http://", "https://")


@dataclass(frozen=True)
class Limits:
    """What is fetched at most.

    Attributes:
        megabytes: of one picture.
        total: gigabytes of all.
        seconds: without a byte, before a picture is given up.
        at_once: connections.
    """

    megabytes: float = 20.0
    total: float = 50.0
    seconds: float = 20.0
    at_once: int = 8


def fetch_images(folder: Path, new: Path, limits: Limits) -> int:
    """Write the catalogue with its pictures into a new folder.

    Args:
        folder: a catalogue in the generic tables, CSV, JSON Lines or Parquet.
        new: made, or gone on with.
        limits: see there.

    Returns:
        How many pictures lie there now.

    Raises:
        CatalogError: a table is damaged, or there is no URL in it.
        ImageError: some could not be fetched; the tables are written without them where others could.
    """
    if new.resolve() == folder.resolve():
        raise CatalogError("the new folder is the old one", where=str(new), mend="name a folder that is not there yet")
    tables = readers.tables(folder)
    urls = sorted({url for table in tables.values() for url in _urls(table)})
    if not urls:
        raise CatalogError("no image path is a URL", where=str(folder), mend="nothing has to be fetched")
    (new / "images").mkdir(parents=True, exist_ok=True)
    left = int(limits.total * 1e9)
    failed: dict[str, str] = {}
    with ThreadPoolExecutor(limits.at_once) as pool:
        for url, size, reason in track(pool.map(partial(_fetch, new, limits), urls), "images", total=len(urls)):
            left -= size
            if reason:
                failed[url] = reason
            if left < 0:
                pool.shutdown(cancel_futures=True)
                what = f"more than {limits.total:g} GB of pictures"
                raise ImageError(what, where=str(new), mend="raise --total, and the same command goes on")
    paths = {url: _place(url) for url in urls if url not in failed}
    if not paths:
        raise _failed(failed, len(urls), folder, "none came: look at the network, and whether a browser shows them")
    for name, table in tables.items():
        _with_paths(table, paths).write_parquet(new / f"{name}.parquet")
    say(f"{new}: {len(paths):,} of {len(urls):,} pictures; the tables name them")
    if failed:
        raise _failed(
            failed, len(urls), folder, f"the same command tries them again; {new} is a catalogue without them"
        )
    return len(paths)


def _urls(table: pl.DataFrame) -> Iterable[str]:
    if table.schema.get("image_paths") != pl.List(pl.String):
        return []
    paths = table["image_paths"].explode(empty_as_null=False, keep_nulls=False).drop_nulls()
    return [path for path in paths if URL.match(path)]


def _place(url: str) -> str:
    return f"images/{hashlib.sha256(url.encode()).hexdigest()[:24]}"


def _with_paths(table: pl.DataFrame, paths: dict[str, str]) -> pl.DataFrame:
    if table.schema.get("image_paths") != pl.List(pl.String):
        return table
    kept = [
        [paths.get(p, p) for p in row or [] if p in paths or not URL.match(p)] for row in table["image_paths"].to_list()
    ]
    return table.with_columns(pl.Series("image_paths", kept, dtype=pl.List(pl.String)))


def _fetch(new: Path, limits: Limits, url: str) -> tuple[str, int, str]:
    """The URL, bytes fetched, and why it could not be; empty where it could."""
    file, most = new / _place(url), int(limits.megabytes * 1e6)
    if file.is_file():
        return url, 0, ""
    if not url.strip().lower().startswith(SCHEMES):
        return url, 0, "is neither http nor https; fetch it by its own program"
    try:
        request = urllib.request.Request(url.strip(), headers={"User-Agent": "mufin"})
        with urllib.request.urlopen(request, timeout=limits.seconds) as answer:
            data = answer.read(most + 1)
    except (OSError, ValueError, HTTPException) as error:  # URLError and HTTPError are OSErrors
        code = getattr(error, "code", None)
        return url, 0, f"the server answers {code}" if code else "no answer"
    if len(data) > most:
        return url, len(data), f"has more than {limits.megabytes:g} MB"
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    aside.write_bytes(data)
    os.replace(aside, file)
    return url, len(data), ""


def _failed(failed: dict[str, str], total: int, folder: Path, hint: str) -> ImageError:
    return ImageError(
        f"{len(failed):,} of {total:,} pictures could not be fetched",
        where=f"{folder}, column image_paths",
        rows=[f"{url}: {reason}" for url, reason in failed.items()],
        mend=hint,
    )
