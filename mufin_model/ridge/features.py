"""What the kernel compares of an item or a label: its words and characters, its sentence, what its pictures show and
how they are drawn.

`Featurizer` holds what was learnt of a catalogue (vocabularies, means); it makes `Features` of the catalogue's own
items and labels, and of items that nobody has seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn.functional import normalize

from mufin_model.arrays import read_array, read_sparse
from mufin_model.artefacts import read_json, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.vectors import given, unit_rows
from mufin_model.encoders import tfidf
from mufin_model.encoders.handmade import Handmade, ink
from mufin_model.errors import ArtefactError

CHUNK = 1024
"""Images looked at at once."""

MANY = 5
"""The number of an item's pictures tells something of where it is from; from here on they are alike."""

Ragged = tuple[np.ndarray, np.ndarray]
"""Offsets [n + 1] and rows [nnz] of n lists."""

SPARSE, DENSE = ("words", "characters"), ("sentences", "images", "pictures", "ink", "pictured")


@dataclass(frozen=True)
class Features:
    """Of n entities. Rows are of unit length, or zero where there is nothing to compare.

    Attributes:
        words, characters: TF-IDF of the text, CSR [n, V].
        sentences: text embeddings of pretrained weights, [n, d].
        images: the mean of the pictures' embeddings by pretrained weights, [n, d].
        pictures: the mean of their hand-made features, [n, d].
        ink: how they are drawn, [n, d]; not of unit length.
        pictured: True where there is a picture, [n].
    """

    words: sparse.csr_matrix
    characters: sparse.csr_matrix
    sentences: Tensor
    images: Tensor
    pictures: Tensor
    ink: Tensor
    pictured: Tensor

    def __len__(self) -> int:
        return len(self.pictured)

    def take(self, rows: np.ndarray | slice) -> Features:
        """Some of the entities."""
        at = rows if isinstance(rows, slice) else torch.from_numpy(rows).to(self.pictured.device)
        dense = {name: getattr(self, name)[at] for name in DENSE}
        return Features(self.words[rows], self.characters[rows], **dense)

    def save(self, folder: Path) -> None:
        """Write a folder."""
        folder.mkdir()
        for name in SPARSE:
            sparse.save_npz(folder / f"{name}.npz", getattr(self, name))
        for name in DENSE:
            np.save(folder / f"{name}.npy", getattr(self, name).cpu().numpy())

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> Features:
        """Read a folder.

        Raises:
            ArtefactError: files are missing, damaged or of different lengths.
        """
        parts: dict[str, Any] = {name: read_sparse(folder / f"{name}.npz") for name in SPARSE}
        parts |= {name: torch.from_numpy(read_array(folder / f"{name}.npy")).to(device) for name in DENSE}
        lengths = {name: part.shape[0] for name, part in parts.items()}
        if len(set(lengths.values())) > 1:
            told = [f"{name}: {length:,}" for name, length in lengths.items()]
            raise ArtefactError("the features are of different lengths", where=str(folder), rows=told, mend="finetune")
        return cls(**parts)


@dataclass
class Featurizer:
    """Vocabularies of the labelled items' texts and the labels', and what is usual among the catalogue's pictures.

    Attributes:
        words, characters: fitted TfidfVectorizer, or None where no text has a word.
        usual: mean and deviation [2, d] of image embeddings ("images") and of how pictures are drawn ("ink").
        sentences: whether text embeddings are compared, which only pretrained weights are worth.
        width: of the image embeddings compared; 0 where none are.
    """

    words: Any
    characters: Any
    usual: dict[str, Tensor]
    sentences: bool
    width: int
    device: torch.device

    @classmethod
    def fit(
        cls, catalog: Catalog, encoded: Path, labelled: np.ndarray, frozen: Sequence[str], device: torch.device
    ) -> Featurizer:
        """Learn of a catalogue.

        Args:
            catalog: its items and labels.
            encoded: the artefact `encoder_embeddings`.
            labelled: item rows whose texts give the vocabularies and whose pictures say what is usual, with those of
                the seen labels. Test items and zero-shot labels say nothing of either.
            frozen: modalities whose pretrained weights stayed as they were, so that a release can encode by them.
            device: of the tensors.
        """
        told = catalog.items["text"].gather(labelled).to_list() + catalog.labels["text"].head(catalog.n_seen).to_list()
        words, characters = tfidf.word_vectorizer(), tfidf.character_vectorizer()
        meta = read_json(encoded / "meta.json")
        known = {name: name in frozen and not meta["random_weights"][name] for name in ("text", "image")}
        width = meta["backbone_width"] if known["image"] else 0
        made = cls(tfidf.fitted(words, told), tfidf.fitted(characters, told), {}, known["text"], width, device)
        known_images = _images_of(catalog, labelled)
        if made.width and len(known_images):
            made.usual["images"] = _usual(made._embedded(encoded)[torch.from_numpy(known_images).to(device)])
        if len(known_images) and given(catalog.folder) is None:
            made.usual["ink"] = _usual(torch.cat([ink(p) for p in _pixels(catalog, known_images)]).to(device))
        return made

    def of_catalog(self, catalog: Catalog, encoded: Path) -> tuple[Features, Features]:
        """Features of every item and of every label, zero-shot ones included."""
        sentences = torch.from_numpy(read_array(encoded / "text.npy")) if self.sentences else None
        images = self._embedded(encoded) if self.width else None
        shown = self._shown(catalog)
        out, before = [], 0
        for table, bags in ((catalog.items, catalog.item_images()), (catalog.labels, catalog.label_images())):
            own = None if sentences is None else sentences[before : before + table.height]
            out.append(self._make(table["text"].to_list(), own, images, shown, bags))
            before += table.height
        return out[0], out[1]

    def of_queries(
        self,
        texts: Sequence[str],
        sentences: Tensor | None,
        pixels: np.ndarray,
        images: Tensor | None,
        counts: Sequence[int],
    ) -> Features:
        """Features of items that are not the catalogue's.

        Args:
            texts: of n items.
            sentences: their embeddings, unit rows [n, d].
            pixels: their pictures one after the other, uint8 [m, 3, s, s].
            images: the pictures' embeddings, unit rows [m, d].
            counts: pictures of each item.
        """
        offsets = np.cumsum([0, *counts])
        drawn = torch.from_numpy(pixels)
        shown = [part.to(self.device) for part in (Handmade()(drawn), ink(drawn))] if len(pixels) else []
        own = images.to(self.device)[:, : self.width] if self.width and images is not None else None
        told = sentences if self.sentences else None
        return self._make(list(texts), told, own, shown, (offsets, np.arange(offsets[-1])))

    def _shown(self, catalog: Catalog) -> list[Tensor]:
        """Hand-made features of every picture, and how it is drawn; vectors that were given say nothing of that."""
        vectors = given(catalog.folder)
        if vectors is not None:
            return [torch.from_numpy(unit_rows(vectors, np.arange(len(vectors)))).to(self.device)]
        parts = [(Handmade()(pixels), ink(pixels)) for pixels in _pixels(catalog)]
        return [torch.cat(part).to(self.device) for part in zip(*parts, strict=True)]

    def _make(
        self, texts: list[str], sentences: Tensor | None, images: Tensor | None, shown: list[Tensor], bags: Ragged
    ) -> Features:
        """Features of n entities.

        Args:
            texts: [n].
            sentences: embeddings of the texts, [n, d].
            images: embeddings of m pictures, [m, d].
            shown: hand-made features of the pictures [m, d], and how they are drawn [m, d] where that is known.
            bags: the pictures of each entity.
        """
        counts = np.diff(bags[0])
        nothing = torch.zeros(len(texts), 1, device=self.device)
        looks = nothing if not shown else _means(shown[0], *bags)
        if images is not None and "images" in self.usual:
            # Some units of a pretrained network are large for every picture: standardised, all tell pictures apart.
            mean, deviation = self.usual["images"]
            images = _means(normalize((images - mean) / deviation, dim=1), *bags)
        how = nothing
        if len(shown) > 1 and "ink" in self.usual:
            mean, deviation = self.usual["ink"]
            number = torch.from_numpy((counts[:, None] == np.arange(1, MANY)) * np.float32(2)).to(self.device)
            how = torch.cat([_means((shown[1] - mean) / deviation, *bags), number], dim=1)
        return Features(
            tfidf.transformed(self.words, texts),
            tfidf.transformed(self.characters, texts),
            nothing if sentences is None else normalize(sentences.to(self.device), dim=1),
            nothing if images is None else normalize(images, dim=1),
            normalize(looks, dim=1),
            how,
            torch.from_numpy(counts > 0).to(self.device),
        )

    def _embedded(self, encoded: Path) -> Tensor:
        """What pretrained weights see in each picture, [n_images, width]."""
        return torch.from_numpy(read_array(encoded / "image.npy")[:, : self.width]).to(self.device)

    def save(self, folder: Path) -> None:
        """Write a folder; nothing in it is code."""
        folder.mkdir()
        write_json(folder / "featurizer.json", {"sentences": self.sentences, "width": self.width})
        for name, vectorizer in (("words", self.words), ("characters", self.characters)):
            write_json(folder / f"{name}.json", tfidf.told(vectorizer))
        for name, usual in self.usual.items():
            np.save(folder / f"usual_{name}.npy", usual.cpu().numpy())

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> Featurizer:
        """Read a folder.

        Raises:
            ArtefactError: files are missing or damaged.
        """
        config = read_json(folder / "featurizer.json")
        words = tfidf.restored(tfidf.word_vectorizer(), read_json(folder / "words.json"))
        characters = tfidf.restored(tfidf.character_vectorizer(), read_json(folder / "characters.json"))
        usual = {}
        for name in ("images", "ink"):
            if (path := folder / f"usual_{name}.npy").is_file():
                usual[name] = torch.from_numpy(read_array(path, shape=(2, None))).to(device)
        return cls(words, characters, usual, config["sentences"], config["width"], device)


def _means(each: Tensor, offsets: np.ndarray, rows: np.ndarray) -> Tensor:
    """The mean over each entity's pictures: [m, d] to [n, d], zero where there is none."""
    of = torch.from_numpy(np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))).to(each.device)
    counts = torch.from_numpy(np.diff(offsets)).to(each.device)
    sums = each.new_zeros(len(counts), each.shape[1]).index_add_(0, of, each[torch.from_numpy(rows).to(each.device)])
    return sums / counts.clamp(min=1).unsqueeze(1)


def _usual(each: Tensor) -> Tensor:
    return torch.stack([each.mean(0), each.std(0, correction=0) + 1e-6])


def _images_of(catalog: Catalog, labelled: np.ndarray) -> np.ndarray:
    """Rows of the pictures of labelled items and seen labels, ascending."""
    parts = []
    for (offsets, rows), owners in (
        (catalog.item_images(), labelled),
        (catalog.label_images(), np.arange(catalog.n_seen)),
    ):
        parts += [rows[offsets[owner] : offsets[owner + 1]] for owner in owners]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *parts]))


def _pixels(catalog: Catalog, rows: np.ndarray | None = None) -> Iterator[Tensor]:
    """Pictures [m, 3, s, s], some at a time: all, or those of some rows."""
    chosen = np.arange(len(catalog.images)) if rows is None else rows
    for at in range(0, len(chosen), CHUNK):
        yield torch.from_numpy(catalog.images.pixels(chosen[at : at + CHUNK]))
