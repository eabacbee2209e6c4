"""What a client asks of the served model: JSON read with distrust, each mistake told by its place in the request."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import numpy as np
import polars as pl

from mufin_model.catalog.columns import clean_texts
from mufin_model.errors import RequestError
from mufin_model.release.queries import Query, picture

MAX_BODY = 32_000_000
"""Bytes of a request."""
MAX_ITEMS, MAX_IMAGES, MAX_K = 256, 16, 100
K = 10
"""Labels an item, where a request does not say."""

EXAMPLE = '{"items": [{"text": "red wool scarf", "images": ["<base64>"]}], "k": 5}'


def parse(body: bytes, size: int | None) -> tuple[list[Query], int, bool]:
    """The items of a request, how many labels each is to get, and whether zero-shot labels are asked for.

    Args:
        body: JSON.
        size: side of the pictures that the model sees, in pixels; None where it sees none.

    Raises:
        RequestError: anything in it is not as it should be.
    """
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"it is no JSON: {error}", "the body") from error
    if not isinstance(told, dict) or not isinstance(told.get("items"), list):
        raise _wrong("it has no list of items", "items")
    if unknown := sorted(told.keys() - {"items", "k", "zero_shot"}):
        raise _wrong(f"unknown: {', '.join(unknown)}", "the body")
    k = told.get("k", K)
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= MAX_K:
        raise _wrong(f"a whole number from 1 to {MAX_K} is wanted, got {k!r}", "k")
    unseen = told.get("zero_shot", False)
    if not isinstance(unseen, bool):
        raise _wrong(f"true or false is wanted, got {unseen!r}", "zero_shot")
    if not 1 <= len(told["items"]) <= MAX_ITEMS:
        raise _wrong(f"{len(told['items']):,} items; 1 to {MAX_ITEMS} are answered at once", "items")
    return [_item(item, f"items[{place}]", size) for place, item in enumerate(told["items"])], k, unseen


def _item(item: Any, where: str, size: int | None) -> Query:
    if not isinstance(item, dict):
        raise _wrong("an item is an object with text, images or both", where)
    if unknown := sorted(item.keys() - {"text", "images"}):
        raise _wrong(f"unknown: {', '.join(unknown)}", where)
    text, images = item.get("text", ""), item.get("images", [])
    if not isinstance(text, str):
        raise _wrong("a text is a string", f"{where}.text")
    if not isinstance(images, list) or len(images) > MAX_IMAGES:
        raise _wrong(f"images are a list of {MAX_IMAGES} at most", f"{where}.images")
    if images and size is None:
        raise _wrong("this release was trained on ready-made image vectors and can see no picture", f"{where}.images")
    pictures = [_image(image, f"{where}.images[{place}]", size or 1) for place, image in enumerate(images)]
    # as ingest cleans them: the model has seen no others; a lone surrogate is no text for any tokenizer
    clean = clean_texts(pl.DataFrame({"text": [text.encode(errors="replace").decode()]}))[0]["text"][0]
    if not clean.strip() and not pictures:
        raise _wrong("an item needs a text or an image", where)
    return Query(clean, pictures)


def _image(image: Any, where: str, size: int) -> np.ndarray:
    try:
        data = base64.b64decode(image, validate=True) if isinstance(image, str) else b""
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise _wrong("an image is the base64 of a file's bytes; paths and addresses are not opened", where)
    try:
        return picture(data, size)
    except Exception as error:  # decoders raise anything for damaged data
        raise _wrong(f"it does not decode as an image ({type(error).__name__})", where) from error


def _wrong(what: str, where: str) -> RequestError:
    return RequestError(what, where=where, mend=f"as in {EXAMPLE}")
