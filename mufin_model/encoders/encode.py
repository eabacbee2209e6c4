"""Stage `encode`: the backbones run once over every descriptor. Leaves `encoder_embeddings`.

image.npy   float32 [n_images, d_v]             unit rows; with image_backbone `given`, the vectors the catalogue brings
text.npy    float32 [n_items + n_labels, d_t]   unit rows; zero where a text is empty
backbones/  weights, tokenizer                  from which `pretrain` goes on
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from mufin_model import run_mode
from mufin_model.artefacts import Workspace, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.vectors import FILE, Vectors, given, write_unit
from mufin_model.config import Settings
from mufin_model.encoders import text as text_encoder
from mufin_model.encoders.backbones import DECODED, Backbones, catalog_texts, encode_images, encode_texts, pixels
from mufin_model.encoders.handmade import WIDTH
from mufin_model.encoders.image import GIVEN, HANDMADE, ImageEncoder
from mufin_model.errors import SettingError
from mufin_model.progress import Clock, duration, say

TRIED = 16
"""Images and texts that are encoded beforehand, to tell how long all of them take."""


def run(workspace: Workspace, dataset: str, settings: Settings) -> None:
    """Encode the descriptors of one dataset.

    Raises:
        ArtefactError: raw_descriptors is missing.
        SettingError: a backbone cannot be made.
    """
    noun = "encoder_embeddings"
    catalog = Catalog.load(workspace.read(dataset, "raw_descriptors"))
    torch.manual_seed(settings.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    texts = catalog_texts(catalog)
    # The vocabulary is learnt from what may be known in training: test texts and zero-shot labels stay unseen.
    seen = np.concatenate([catalog.rows("train"), catalog.rows("val"), len(catalog.items) + np.arange(catalog.n_seen)])
    chosen = settings.encode
    vectors = _given(catalog, chosen.image_backbone)
    if chosen.keep_weights:
        backbones = Backbones.load(workspace.read(dataset, noun) / "backbones").to(device)
    else:
        backbones = Backbones(
            ImageEncoder(chosen.image_backbone, chosen.image_weights, catalog.images.size, chosen.image_scaled),
            text_encoder.build(chosen, (texts[row] for row in seen)),
        ).to(device)
    with workspace.write(dataset, noun) as folder:
        if chosen.keep_weights:
            run_mode.note(folder)
        backbones.save(folder / "backbones")
        ids, mask = backbones.text.tokenize(texts)
        clock = _clock(catalog, backbones, (ids, mask), chosen.batch_size, device, vectors is None)
        if vectors is None:
            table = pixels(catalog, workspace.state(dataset, noun), catalog.images.size, clock=clock)
            image = normalize(encode_images(backbones.image, table, chosen.batch_size, device, clock), dim=1)
            np.save(folder / "image.npy", image.numpy())
        else:
            image = write_unit(folder / "image.npy", vectors)
        text = normalize(encode_texts(backbones.text, ids, mask, chosen.batch_size, device, clock), dim=1)
        text[torch.tensor([not t for t in texts], dtype=torch.bool)] = 0
        np.save(folder / "text.npy", text.numpy())
        random = {
            "image": chosen.image_weights == "none" and chosen.image_backbone not in (HANDMADE, GIVEN),
            "text": chosen.text_backbone == text_encoder.OWN,
        }
        seen_by_weights = backbones.image.width - (WIDTH if backbones.image.handmade is not None else 0)
        write_json(
            folder / "meta.json",
            {"random_weights": random, "images": len(image), "texts": len(text), "backbone_width": seen_by_weights},
        )
    say(f"encoded {len(image):,} images to {image.shape[1]} and {len(text):,} texts to {text.shape[1]} dimensions")


def _clock(
    catalog: Catalog,
    backbones: Backbones,
    tokens: tuple[torch.Tensor, torch.Tensor],
    batch: int,
    device: torch.device,
    pictures: bool,
) -> Clock:
    """The stage's parts, with how long a few images and texts take; says what that makes for all of them."""
    images, texts = len(catalog.images) * pictures, len(tokens[0])
    clock = Clock(decode=math.ceil(images / DECODED), images=math.ceil(images / batch), texts=math.ceil(texts / batch))

    def seconds(what: Callable[[], Any]) -> float:
        what()  # the first time warms up
        began = time.monotonic()
        what()
        return time.monotonic() - began

    with torch.inference_mode():
        backbones.eval()
        if images:
            rows = np.linspace(0, images - 1, min(TRIED, images)).astype(np.int64)
            table = torch.from_numpy(catalog.images.pixels(rows)).to(device)
            clock.guess("decode", seconds(lambda: catalog.images.pixels(rows)) / len(rows) * min(DECODED, images))
            clock.guess("images", seconds(lambda: backbones.image(table).cpu()) / len(rows) * min(batch, images))
        some = [part[np.linspace(0, texts - 1, min(TRIED, texts)).astype(np.int64)].to(device) for part in tokens]
        clock.guess("texts", seconds(lambda: backbones.text(*some).cpu()) / len(some[0]) * min(batch, texts))
    say(f"encode: {images:,} images and {texts:,} texts, about {duration(clock.left() or 0)}")
    return clock


def _given(catalog: Catalog, backbone: str) -> Vectors | None:
    """The catalogue's ready-made image vectors, which must be asked for where they are all there is of its images.

    Raises:
        SettingError: `given` is asked for and there are none, or the other way round.
    """
    vectors = given(catalog.folder)
    if vectors is None and backbone == GIVEN:
        raise SettingError(
            "the catalogue brings no image vectors",
            where="encode.image_backbone",
            rows=[f"{catalog.folder / FILE} does not exist"],
            mend="choose a backbone (handmade, or any timm model), or add the vectors and ingest again",
        )
    if vectors is not None and backbone != GIVEN:
        raise SettingError(
            f"the catalogue's images are vectors already, which {backbone!r} cannot read",
            where="encode.image_backbone",
            mend="-S encode.image_backbone=given, or put it under per_dataset in params.yaml",
        )
    return vectors
