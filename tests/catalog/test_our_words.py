"""No error shows another library's words: whatever libraries and the system raise is told in ours."""

from __future__ import annotations

import errno
import json
import os
import zlib

import polars as pl
import pyarrow as pa
import pytest
import typer
from PIL import Image

from mufin_model import config
from mufin_model.artefacts import disk
from mufin_model.cli import guarded
from mufin_model.errors import SYSTEM, DiskError, MufinError, SettingError, Unreadable, in_words

from .conftest import Tiny


def json_error() -> Exception:
    try:
        json.loads("{")
    except ValueError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    "error",
    [
        pl.exceptions.ComputeError("foreign words: invalid thrift"),
        pa.ArrowInvalid("foreign words: magic bytes"),
        Image.UnidentifiedImageError("foreign words: cannot identify"),
        zlib.error("foreign words: Error -3"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "foreign words"),
        OSError(errno.ENOSPC, "foreign words"),
        OSError(errno.ENOTSUP, "foreign words"),
        ValueError("foreign words"),
        RecursionError("foreign words"),
        json_error(),
    ],
)
def test_in_words(error: Exception) -> None:
    told = in_words(error)
    assert "foreign" not in told
    assert "Expecting" not in told
    assert told
    assert in_words(Unreadable("ours")) == "ours"


@pytest.mark.parametrize(
    "number", [errno.EACCES, errno.EROFS, errno.ENAMETOOLONG, errno.ENOSPC, errno.EMFILE, errno.EXDEV]
)
def test_what_the_system_refuses(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    @guarded
    def command() -> None:
        raise OSError(number, os.strerror(number), "/data/x")

    with pytest.raises(typer.Exit) as left:
        command()
    assert left.value.exit_code == 2
    told = capsys.readouterr().err
    assert os.strerror(number) not in told
    assert SYSTEM[number] in told
    assert "  where: /data/x\n" in told
    assert "  mend:  " in told
    assert told.startswith("DiskError" if number == errno.ENOSPC else "AccessError")


def test_a_full_disk_while_a_folder_is_copied(tmp_path) -> None:
    with pytest.raises(DiskError) as caught, disk(tmp_path / "x"):
        raise OSError([("a", "b", "[Errno 28] No space left on device")])  # shutil's
    assert "Errno" not in str(caught.value)
    assert "[(" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("pretrain.epochs=many", "pretrain.epochs: must be a whole number"),
        ("pretrain.epochs=0", "pretrain.epochs: must be above 0"),
        ("pretrain.dropout=2", "pretrain.dropout: must be at most 1.0"),
        ("ingest.bad_images=keep", "ingest.bad_images: must be one of 'refuse' or 'drop'"),
        ("ingest.keep_split=often", "ingest.keep_split: must be true or false"),
        ("evaluate.ks=[]", "evaluate.ks: must be a list of 1 or more"),
        ("ingest.ignore_columns=a", "ingest.ignore_columns: must be a list"),
    ],
)
def test_settings(tiny: Tiny, override: str, what: str) -> None:
    with pytest.raises(SettingError) as caught:
        config.load(tiny.workspace.params, "demo", [override])
    assert caught.value.what == what


def test_a_broken_file_of_settings(tiny: Tiny) -> None:
    tiny.workspace.params.write_text("a: [1\nb: }")
    with pytest.raises(MufinError, match=r"no YAML at line 2, column \d"):
        config.read(tiny.workspace.params)
