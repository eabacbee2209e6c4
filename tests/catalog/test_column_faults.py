"""A fault that runs through a whole column is recognised and named; dropping most of a catalogue is refused."""

from __future__ import annotations

import functools
import http.server
import threading
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from mufin_model.catalog import id_faults, readers, text_lines
from mufin_model.catalog.fetch_images import Limits, fetch_images
from mufin_model.catalog.lines import BadLines
from mufin_model.catalog.null_markers import without_null_markers
from mufin_model.errors import CatalogError, ImageError, MufinError

from .conftest import PATHS, Tiny, picture


def paths(tiny: Tiny, change: Callable[[str], str], names: Callable[[str], str] = str) -> None:
    """The tiny catalogue, its items' image paths changed, its files called otherwise."""
    tiny.tables["items"] = tiny.tables["items"].with_columns(
        image_paths=pl.Series([[change(path)] for path in tiny.images], dtype=PATHS)
    )
    for name in ("labels", "zeroshot_labels"):
        tiny.tables[name] = tiny.tables[name].drop("image_paths")
    tiny.images = {names(path): data for path, data in tiny.images.items()}
    tiny.write()


@pytest.mark.parametrize(
    ("change", "names", "what"),
    [
        (lambda path: f"https://cdn.example.com/{path}", str, "are URLs, not files"),
        (lambda path: f"s3://bucket/{path}", str, "are URLs, not files"),
        (lambda path: path.replace("/", "\\"), str, "are files but for backslashes"),
        (lambda path: path.replace(".png", ".PNG"), str, "are files but for small and capital letters"),
        (
            lambda path: unicodedata.normalize("NFD", path.replace("i", "ü")),
            lambda path: unicodedata.normalize("NFC", path.replace("i", "ü")),
            "are files but for how accents are written",
        ),
        (lambda path: f" {path} ", str, "are files but for spaces or quotes"),
        (lambda path: path.replace("i", "%69"), str, "are files but for percent signs"),
        (lambda path: path.replace(".png", ".jpg"), str, "are files but for their endings"),
        (lambda path: path.removeprefix("images/"), str, "name files that lie in another folder"),
        (lambda path: f"/mnt/shop/{path}", str, "name files that lie in another folder"),
        (lambda path: f"C:\\shop\\{Path(path).name}", str, "name files that lie in another folder"),
        (lambda path: f"{path}, images/i0.png", str, "hold several paths"),
        (lambda path: f"['{path}', 'images/i0.png']", str, "hold several paths"),
    ],
)
def test_paths(tiny: Tiny, change: Callable[[str], str], names: Callable[[str], str], what: str) -> None:
    paths(tiny, change, names)
    for setting in ("refuse", "drop"):  # dropping all of them is no way out
        with pytest.raises(CatalogError) as caught:
            tiny.ingest(f"ingest.bad_images={setting}")
        assert caught.value.what.startswith(f"10 of 10 image paths {what}")
        assert caught.value.rows
        assert caught.value.mend


def test_one_such_path_is_named_among_the_bad_images(tiny: Tiny) -> None:
    paths(tiny, lambda path: path.replace("i3.png", "i3.PNG"))
    (error,) = tiny.check()
    assert "1 of them are files but for small and capital letters" in error.what
    assert tiny.check("ingest.bad_images=drop") == []


@pytest.mark.parametrize(
    ("unknown", "what", "hint"),
    [
        (["p1 ", " p2"], "2 of these ids are like known ones but for spaces around", "alike"),
        (["P1", "P2"], "but for small and capital letters", "alike"),
        (["7.0"], "but for a decimal point and zero", "alike"),
        (["007"], "but for zeros at the beginning", "alike"),
        (["'p1'"], "but for quotes", "alike"),
        (["p-1x"], "but for separators", "alike"),
        (["P1 ", "07.0 "], "but for several of these", "alike"),
        (["l1", "l2"], "are label ids: the two columns may be swapped", "under item_id"),
        (["red oak chair"], "are texts of items, not their ids", "in place of its text"),
        (["p1;p2"], "hold several ids, separated by ';'", "a row for each item"),
        (["['p1', 'p2']"], "hold several ids, separated by ','", "a row for each item"),
    ],
)
def test_ids(unknown: list[str], what: str, hint: str) -> None:
    known = pl.Series(["p1", "p2", "7", "p_1x"])
    found = id_faults.explain(
        pl.Series(unknown), known, pl.Series(["red oak chair", "", ""]), pl.Series(["l1", "l2"]), "item"
    )
    assert found is not None
    assert what in found.what
    assert hint in found.hint
    assert found.examples


def test_ids_that_nothing_explains() -> None:
    known = pl.Series(["a1", "A1", "b"])
    assert id_faults.explain(pl.Series(["x", None, "a1 x"]), known, None, pl.Series(["l"]), "item") is None


def test_near_misses_of_links_are_said_with_examples(tiny: Tiny) -> None:
    tiny.tables["train"] = tiny.tables["train"].with_columns(pl.col("label_id").str.to_uppercase())
    tiny.write()
    (error,) = tiny.check()
    assert error.what.startswith(
        "16 links lead to 3 unknown label ids; 3 of these ids are like known ones but for small"
    )
    assert "'A' here, 'a' there" in error.rows


def test_null_markers() -> None:
    table = pl.DataFrame(
        {"id": ["nan", "NA"], "text": [r"\N", "None"], "image_paths": [["NULL", "a.png"], ["none"]]},
        schema_overrides={"image_paths": PATHS},
    )
    cleaned, told = without_null_markers(table)
    assert cleaned.rows() == [(None, None, ["a.png"]), ("NA", "None", [])]
    assert told["text"] == r"1 cells of '\N' are read as empty"
    twice = pl.DataFrame({"id": ["1", "2"], "text": ["None", "None"]})
    assert without_null_markers(twice)[0]["text"].to_list() == [None, None]


@pytest.mark.parametrize(
    ("data", "read"),
    [
        ("Café crème, 3 m², 5 €".encode("cp1252"), True),
        ("Müller’s Stühle".encode("cp1252"), True),
        ("Café".encode() + b" cr\xe8me", False),
        ("żółta ławka".encode("cp1250"), False),
        ("красный стул".encode("cp1251"), False),
        ("赤い椅子".encode("shift_jis"), False),
    ],
)
def test_windows_letters_are_read_where_they_are_certain(tmp_path: Path, data: bytes, read: bool) -> None:
    file = tmp_path / "items.csv"
    file.write_bytes(data)
    bad, notes = BadLines(file), []
    (text,) = [line for _, block in text_lines.texts(file, bad, notes) for line in block]
    assert bool(bad) != read
    assert (text == data.decode("cp1252")) if read else not notes


def test_dropping_most_images_is_refused(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.write()
    for row in range(6):
        (tiny.folder / f"images/i{row}.png").write_bytes(b"x")
    drop = "ingest.bad_images=drop"
    with pytest.raises(ImageError) as caught:
        tiny.ingest(drop)
    assert "6 of 10 are more than ingest.max_dropped" in caught.value.mend
    assert tiny.check(drop, "ingest.max_dropped=0.7") == []
    told = capsys.readouterr().out
    assert "nothing is wrong" not in told
    assert "it can be ingested: " in told
    assert "6 bad images dropped" in told


def test_dropping_most_links_is_refused(tiny: Tiny) -> None:
    tiny.tables["train"] = tiny.tables["train"].with_columns(rating=pl.int_range(pl.len()) % 4)
    tiny.write()
    (error,) = tiny.check("ingest.keep_links={rating: 3}")
    assert error.what.startswith("12 of 16 links of train are left out by ingest.keep_links")
    assert tiny.check("ingest.keep_links={rating: 2}") == []


def test_filtering_most_links_away_is_said(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.tables["filter_test"] = tiny.tables["test"].head(2)
    tiny.write()
    assert tiny.check() == []
    assert "2 of 3 links of test are filtered away" in capsys.readouterr().out


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server of two pictures, one of them large."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "a.png").write_bytes(picture())
    (tmp_path / "web" / "large.png").write_bytes(bytes(20_000))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_address[1]}"
        served.shutdown()


def test_pictures_are_fetched(tmp_path: Path, server: str) -> None:
    shop, new = tmp_path / "shop", tmp_path / "new"
    shop.mkdir()
    (shop / "items.csv").write_text(f"id,text,image_paths\np1,x,{server}/a.png\np2,y,\n")
    (shop / "labels.csv").write_text("id,text\nl1,x\n")
    (shop / "train.csv").write_text("item_id,label_id\np1,l1\n")
    (shop / "test.csv").write_text("item_id,label_id\np2,l1\n")
    assert fetch_images(shop, new, Limits()) == 1
    items = readers.read(new, "auto").tables["items"]
    assert (new / items["image_paths"][0][0]).read_bytes() == picture()
    (shop / "items.csv").write_text(
        f"id,text,image_paths\np1,x,{server}/a.png\np2,y,{server}/large.png;{server}/none.png;ftp://127.0.0.1/x\n"
    )
    with pytest.raises(ImageError, match="3 of 4 pictures could not be fetched") as caught:
        fetch_images(shop, new, Limits(megabytes=0.01))
    reasons = sorted(str(row).split(": ", 1)[1] for row in caught.value.rows)
    assert reasons == [
        "has more than 0.01 MB",
        "is neither http nor https; fetch it by its own program",
        "the server answers 404",
    ]
    assert readers.read(new, "auto").tables["items"]["image_paths"].to_list()[1] == []


def test_nothing_to_fetch(tiny: Tiny, tmp_path: Path) -> None:
    tiny.write()
    with pytest.raises(MufinError, match="no image path is a URL"):
        fetch_images(tiny.folder, tmp_path / "new", Limits())
