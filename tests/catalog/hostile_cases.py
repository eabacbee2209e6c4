"""Bad inputs and what each gets: test_hostile runs them, docs/bad-input.md lists them."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import polars as pl
import pyarrow as pa

from mufin_model.catalog.columns import MAX_ID, MAX_TEXT

from .hostile import (
    ACCEPTED,
    Case,
    arrow,
    bomb,
    bytes_of,
    dictionary,
    emptied,
    first,
    in_place,
    invalid,
    link,
    many_links,
    nulls,
    path,
    put,
    renamed,
    shows,
    swapped,
    table,
    title,
    whole,
)  # fmt: skip
from .hostile_pictures import REFUSED, SHOWN

LONG = "long " * 2**21
FILES = "Files"
COLUMNS = "Columns and types"
TEXTS = "Texts"
IDS = "Ids and links"
PATHS = "Image paths"
PICTURES = "Images"
UNREADABLE = "CatalogError: no readable Parquet file"
OUTSIDE = "CatalogError: # rows have image paths outside the catalogue"
LONG_PATH = f"CatalogError: # rows have image paths of more than {MAX_ID:,} characters"
LEADS_OUT = "ImageError: leads out of the catalogue"
UNSEEN = "CatalogError: # ids hold line ends, control characters or direction marks"

CASES = [
    Case(FILES, "a table cut short", bytes_of("items", lambda data: data[:-20]), UNREADABLE),
    Case(FILES, "a table of which only the end is left", bytes_of("items", lambda data: data[200:]), UNREADABLE),
    Case(FILES, "an empty file", bytes_of("train", lambda data: b""), UNREADABLE),
    Case(FILES, "text called .parquet", bytes_of("test", lambda data: b"item_id,label_id\n"), UNREADABLE),
    Case(FILES, "a pickle called .parquet", bytes_of("test", lambda data: b"\x80\x04cos\nsystem\n."), UNREADABLE),
    Case(FILES, "a folder called items.parquet",
         in_place(Path.mkdir),
         "CatalogError: items.parquet is missing"),
    Case(FILES, "a pipe called items.parquet",
         in_place(os.mkfifo),
         "CatalogError: items.parquet is missing"),
    Case(FILES, "kilobytes that unfold into gigabytes", bomb, "CatalogError: # bytes that unfold into #"),
    Case(FILES, "a page whose bytes were changed",
         bytes_of("train", lambda data: data[:40] + bytes(16) + data[56:]), UNREADABLE),
    Case(COLUMNS, "no columns", whole("items", lambda items: pl.DataFrame()), "CatalogError: column 'id' is missing"),
    Case(COLUMNS, "items without rows", whole("items", lambda items: items.head(0)),
         "CatalogError: # links lead to # unknown item ids"),
    Case(COLUMNS, "labels without rows", whole("labels", lambda labels: labels.head(0)),
         "CatalogError: there are no labels"),
    Case(COLUMNS, "train without rows", whole("train", lambda links: links.head(0)),
         "CatalogError: the train split is empty"),
    Case(COLUMNS, "filters without rows", whole("filter_test", lambda links: links.head(0)),
         ACCEPTED + "nothing is filtered", lambda catalog: catalog.filters("test").nnz == 0),
    Case(COLUMNS, "zero-shot labels and links without rows",
         emptied("zeroshot_labels", "test_zeroshot", "filter_test"),
         ACCEPTED + "there are none", lambda catalog: catalog.n_labels == 3),
    Case(COLUMNS, "all ids null", nulls("items", "id"), "CatalogError: # rows have no id"),
    Case(COLUMNS, "all texts null", nulls("items", "text"), ACCEPTED + "empty texts", shows("")),
    Case(COLUMNS, "all image paths null", nulls("items", "image_paths"), ACCEPTED + "items without images",
         lambda catalog: catalog.item_images()[1].size == 0),
    Case(COLUMNS, "all splits null", nulls("items", "split"), "CatalogError: # items are of no known split"),
    Case(COLUMNS, "all links null", nulls("train", "item_id", "label_id"),
         "CatalogError: # links lead to # unknown item ids"),
    Case(COLUMNS, "ids of numbers", table("items", id=pl.int_range(pl.len())),
         "CatalogError: column 'id' holds Int64, not strings"),
    Case(COLUMNS, "texts of floats", table("items", text=pl.lit(0.5)),
         "CatalogError: column 'text' holds Float64, not strings"),
    Case(COLUMNS, "texts of bytes", table("items", text=pl.lit(b"x")),
         "CatalogError: column 'text' holds Binary, not strings"),
    Case(COLUMNS, "texts of structs", table("items", text=pl.struct(a="id", b="text")),
         "CatalogError: column 'text' holds Struct({'a': String, 'b': String}), not strings"),
    Case(COLUMNS, "texts of lists", table("items", text=pl.col("image_paths")),
         "CatalogError: column 'text' holds List(String), not strings"),
    Case(COLUMNS, "paths nested twice", table("items", image_paths=pl.concat_list("image_paths").implode().over("id")),
         "CatalogError: column 'image_paths' holds List(List(String)), not lists of strings"),
    Case(COLUMNS, "paths of numbers", table("items", image_paths=pl.lit([1, 2])),
         "CatalogError: column 'image_paths' holds List(Int64), not lists of strings"),
    Case(COLUMNS, "one path in place of a list", table("items", image_paths=pl.lit("images/i0.png")),
         "CatalogError: column 'image_paths' holds String, not lists of strings"),
    Case(COLUMNS, "a decimal wider than any", arrow(
        "items", lambda t: put(t, "text", pa.array([1] * 10, pa.decimal256(60, 1)))), UNREADABLE),
    Case(COLUMNS, "a map", arrow(
        "items", lambda t: put(t, "text", pa.array([[("a", "b")]] * 10, pa.map_(pa.string(), pa.string())))),
         "CatalogError: column 'text' holds Map(String, String), not strings"),
    Case(COLUMNS, "a column twice", arrow("items", lambda t: t.append_column("id", t["id"])), UNREADABLE),
    Case(COLUMNS, "further columns of any type", table("items", more=pl.struct(a="id"), less=pl.lit(None)),
         ACCEPTED + "ignored"),
    Case(COLUMNS, "categories in place of strings", table("items", id=pl.col("id").cast(pl.Categorical)),
         ACCEPTED + "their strings", lambda catalog: catalog.items["id"][9] == "i9"),
    Case(COLUMNS, "paths in lists of one fixed length",
         table("items", image_paths=pl.col("image_paths").list.to_array(1)), ACCEPTED + "as lists",
         lambda catalog: catalog.item_images()[1].size == 10),
    Case(COLUMNS, "nulls among the paths", table("items", image_paths=pl.concat_list("image_paths", pl.lit(None))),
         ACCEPTED + "left out", lambda catalog: catalog.item_images()[1].size == 10),
    Case(TEXTS, "NUL and other control characters", title("a\0b\x1b[31mc\x85d"), ACCEPTED + "each becomes a space",
         shows("a b [31mc d")),
    Case(TEXTS, "tabs and line ends", title("a\tb\r\nc"), ACCEPTED + "as they are", shows("a\tb\r\nc")),
    Case(TEXTS, "direction marks and overrides", title("\u202egpj.txt\u202c \u2066x\u2069\u200f"),
         ACCEPTED + "removed; Arabic and Hebrew text itself stays", shows("gpj.txt x")),
    Case(TEXTS, "joiners, accents, astral signs", title("नम\u200dस्ते e\u0301 👩\u200d🔧 \U0010ffff"),
         ACCEPTED + "as they are", shows("नम\u200dस्ते e\u0301 👩\u200d🔧 \U0010ffff")),
    Case(TEXTS, "a text of 10 MB", title(LONG), ACCEPTED + f"cut to its first {MAX_TEXT:,} characters",
         shows(LONG[:MAX_TEXT])),
    Case(TEXTS, "HTML and formulas", title("<script>alert(1)</script> =cmd()"),
         ACCEPTED + "as they are; reports escape them", shows("<script>alert(1)</script> =cmd()")),
    Case(TEXTS, "blanks alone", title(" \u3000 "), ACCEPTED + "as they are; counted as no text", shows(" \u3000 ")),
    Case(TEXTS, "no UTF-8", arrow("items", lambda t: put(t, "text", invalid(t["id"]))), UNREADABLE),
    Case(TEXTS, "categories, one of which stands for 20 GB", partial(dictionary, schema=True),
         "CatalogError: column 'text' unfolds into # bytes, more than #"),
    Case(TEXTS, "a dictionary whose one text stands for 20 GB", partial(dictionary, schema=False),
         "CatalogError: column 'text' unfolds into # bytes, more than #"),
    Case(IDS, "slashes and dots", renamed("i1", "../../a/b\\c"), ACCEPTED + "as they are; no id becomes a file's name",
         lambda catalog: catalog.items["id"][1] == "../../a/b\\c"),
    Case(IDS, "spaces and quotes", renamed("i1", " it's \"x\" "), ACCEPTED + "as they are",
         lambda catalog: catalog.items["id"][1] == " it's \"x\" "),
    Case(IDS, "a line end", renamed("i1", "i1\n"),
         UNSEEN),
    Case(IDS, "a NUL", renamed("i1", "i\0"),
         UNSEEN),
    Case(IDS, "a direction mark", renamed("i1", "i1\u202e"),
         UNSEEN),
    Case(IDS, "an id of 10 MB", renamed("i1", LONG), f"CatalogError: # ids have more than {MAX_ID:,} characters"),
    Case(IDS, "a blank id", renamed("i1", "\u2003"), "CatalogError: # rows have no id"),
    Case(IDS, "an id twice", table("items", id=first("id", "i1")), "CatalogError: # ids occur more than once"),
    Case(IDS, "a link to an unknown id", table("train", item_id=first("item_id", "i99")),
         "CatalogError: # links lead to # unknown item ids"),
    Case(IDS, "a million links to one label, most of them repeated", many_links, ACCEPTED + "each pair counts once",
         lambda catalog: catalog.links("train").nnz + catalog.links("val").nnz == 8),
    Case(PATHS, "an absolute path", path("/etc/passwd"), OUTSIDE),
    Case(PATHS, "a path that climbs out", path("images/../../../params.yaml"),
         OUTSIDE),
    Case(PATHS, "a drive's letter", path("C:\\x.png"), OUTSIDE),
    Case(PATHS, "a path of 10 MB", path(LONG), LONG_PATH),
    Case(PATHS, "a link that leads outside", path("images/x.png", link("../../../../secret.png")),
         LEADS_OUT),
    Case(PATHS, "a link that leads inside", path("images/x.png", link("i1.png")), ACCEPTED + "followed",
         lambda catalog: catalog.item_images()[1].size == 1),
    Case(PATHS, "a link to nothing", path("images/x.png", link("none.png")), "ImageError: is missing"),
    Case(PATHS, "a link to itself", path("images/x.png", link("x.png")),
         "ImageError: too many levels of symbolic links"),
    Case(PATHS, "a link to a device", path("images/x.png", link("/dev/zero")), LEADS_OUT),
    Case(PATHS, "a folder", path("images"), "ImageError: is a folder"),
    Case(PATHS, "the empty path", path(""), "ImageError: is a folder"),
    Case(PATHS, "a pipe", path("images/x.png", os.mkfifo), "ImageError: is no regular file"),
    Case(PATHS, "a NUL", path("images/\0.png"), "ImageError: its name holds a NUL"),
    Case(PATHS, "a file's name as a folder's", path("images/i1.png/x.png"), "ImageError: not a directory"),
    *(Case(PICTURES, name, swapped(data), f"ImageError: {reason}") for name, data, reason in REFUSED),
    *(Case(PICTURES, name, swapped(data), ACCEPTED + rule, seen) for name, data, rule, seen in SHOWN),
]  # fmt: skip
