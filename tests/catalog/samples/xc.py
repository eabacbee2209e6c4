"""Writers of the Extreme Classification Repository's text files, after its description and pyxclib's writer."""

from __future__ import annotations

from pathlib import Path

from .content import Content


def write(folder: Path, content: Content, uids: bool = True) -> None:
    """The set `xc`: with UIDs under raw_data/, or titles alone beside the matrices."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = len(content.uids["label"])
    write_matrix(folder / "trn_X_Y.txt", content.links["train"], columns)
    write_matrix(folder / "tst_X_Y.txt", content.links["test"], columns)
    for split, pairs in content.filters.items():
        write_pairs(folder / f"filter_labels_{split}.txt", pairs)
    for side, short in (("train", "trn"), ("test", "tst"), ("label", "lbl")):
        titles = [title.encode("latin-1") for title in content.titles[side]]
        if uids:
            lines = [uid.encode() + b"->" + title for uid, title in zip(content.uids[side], titles, strict=True)]
            (folder / "raw_data").mkdir(exist_ok=True)
            (folder / "raw_data" / f"{side}.raw.txt").write_bytes(b"".join(line + b"\n" for line in lines))
        else:
            (folder / f"{short}.raw.txt").write_bytes(b"".join(title + b"\n" for title in titles))


def write_matrix(file: Path, rows: list[list[int]], columns: int) -> None:
    """ "rows columns", then "column:1.0 column:1.0 ..." a row; a row without labels is a blank line."""
    lines = [f"{len(rows)} {columns}", *(" ".join(f"{column}:1.0" for column in row) for row in rows)]
    file.write_bytes("".join(line + "\n" for line in lines).encode())


def write_pairs(file: Path, pairs: list[tuple[int, int]]) -> None:
    """ "item label", a pair a line."""
    file.write_bytes("".join(f"{item} {label}\n" for item, label in pairs).encode())
