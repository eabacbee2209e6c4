"""A tiny catalogue on disk, whose tables a test can spoil."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from mufin_model import config
from mufin_model.artefacts import Workspace
from mufin_model.catalog import ingest
from mufin_model.catalog.catalog import Catalog
from mufin_model.errors import MufinError, SeveralErrors

PARAMS = Path(__file__).parents[2] / "params.yaml"
PATHS = pl.List(pl.String)


def picture(colour: object = "red", size: tuple[int, int] = (8, 8), mode: str = "RGB", kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, kind)
    return out.getvalue()


@dataclass
class Tiny:
    """The dataset `demo` in a workspace of its own: 8 training items, 2 test items, 3 labels, 1 zero-shot label."""

    workspace: Workspace
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    images: dict[str, bytes] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.workspace.catalog("demo")

    def write(self, packed: bool = False) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, table in self.tables.items():
            table.write_parquet(self.folder / f"{name}.parquet")
        if packed:
            images = pl.DataFrame({"path": list(self.images), "bytes": list(self.images.values())})
            images.write_parquet(self.folder / "images.parquet")
            return
        for path, data in self.images.items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(data)

    def ingest(self, *overrides: str) -> Catalog:
        ingest.run(self.workspace, "demo", self.settings(overrides))
        return Catalog.load(self.workspace.read("demo", "raw_descriptors"))

    def check(self, *overrides: str) -> list[MufinError]:
        """What `mufin ingest --check` tells."""
        try:
            ingest.check(self.workspace, "demo", self.settings(overrides))
        except SeveralErrors as several:
            return several.errors
        except MufinError as error:
            return [error]
        return []

    def settings(self, overrides: Iterable[str]) -> config.Settings:
        return config.load(self.workspace.params, "demo", ["ingest.image_size=16", *overrides])


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    (tmp_path / "params.yaml").write_bytes(PARAMS.read_bytes())
    tiny = Tiny(Workspace(tmp_path))
    ids = [f"i{row}" for row in range(10)]
    tiny.images = {f"images/{id_}.png": picture((row * 20, 90, 10)) for row, id_ in enumerate(ids)}
    tiny.tables = {
        "items": pl.DataFrame(
            {
                "id": ids,
                "text": [f"item {row}" for row in range(9)] + [None],
                "image_paths": [[path] for path in tiny.images],
                "split": ["train"] * 8 + ["test"] * 2,
            }
        ),
        "labels": pl.DataFrame(
            {"id": ["a", "b", "c"], "text": ["A", "", None], "image_paths": [["images/i0.png"], None, []]},
            schema_overrides={"image_paths": PATHS},
        ),
        "train": pl.DataFrame({"item_id": ids[:8] * 2, "label_id": ["a"] * 8 + ["b", "c"] * 4}),
        "test": pl.DataFrame({"item_id": ["i8", "i9", "i9"], "label_id": ["a", "b", "c"]}),
        "filter_train": pl.DataFrame({"item_id": ["i1"], "label_id": ["a"], "kind": ["self"]}),
        "filter_test": pl.DataFrame({"item_id": ["i9", "i8"], "label_id": ["c", "z"]}),
        "zeroshot_labels": pl.DataFrame({"id": ["z"], "text": ["Z"], "image_paths": [["images/i9.png"]]}),
        "test_zeroshot": pl.DataFrame({"item_id": ["i8"], "label_id": ["z"]}),
    }
    return tiny
