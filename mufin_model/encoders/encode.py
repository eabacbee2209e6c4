"""Stage `encode`: the backbones run once over every descriptor. Leaves `encoder_embeddings`.

image.npy   float32 [n_images, d_v]             unit rows; with image_backbone `given`, the vectors the catalogue brings
text.npy    float32 [n_items + n_labels, d_t]   unit rows; zero where a text is empty
backbones/  weights, tokenizer                  from which `pretrain` goes on
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import normalize

from mufin_model import run_mode
from mufin_model.artefacts import Workspace, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.vectors import FILE, Vectors, given, write_unit
from mufin_model.config import Settings
from mufin_model.encoders import text as text_encoder
from mufin_model.encoders.backbones import Backbones, catalog_texts, encode_images, encode_texts, pixels
from mufin_model.encoders.handmade import WIDTH
from mufin_model.encoders.image import GIVEN, HANDMADE, ImageEncoder
from mufin_model.errors import SettingError
from mufin_model.progress import say


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
        if vectors is None:
            table = pixels(catalog, workspace.state(dataset, noun), catalog.images.size)
            image = normalize(encode_images(backbones.image, table, chosen.batch_size, device), dim=1)
            np.save(folder / "image.npy", image.numpy())
        else:
            image = write_unit(folder / "image.npy", vectors)
        ids, mask = backbones.text.tokenize(texts)
        text = normalize(encode_texts(backbones.text, ids, mask, chosen.batch_size, device), dim=1)
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
