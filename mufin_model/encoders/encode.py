"""Stage `encode`: the backbones run once over every descriptor. Leaves `encoder_embeddings`.

image.npy   float32 [n_images, d_v]             unit rows
text.npy    float32 [n_items + n_labels, d_t]   unit rows; zero where a text is empty
backbones/  weights, tokenizer                  from which `pretrain` goes on
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import normalize

from mufin_model.artefacts import Workspace, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.config import Settings
from mufin_model.encoders import text as text_encoder
from mufin_model.encoders.backbones import Backbones, catalog_texts, encode_images, encode_texts, pixels
from mufin_model.encoders.image import HANDMADE, ImageEncoder
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
    backbones = Backbones(
        ImageEncoder(chosen.image_backbone, chosen.image_weights, catalog.images.size),
        text_encoder.build(chosen, (texts[row] for row in seen)),
    ).to(device)
    with workspace.write(dataset, noun) as folder:
        backbones.save(folder / "backbones")
        table = pixels(catalog, workspace.state(dataset, noun), catalog.images.size)
        image = normalize(encode_images(backbones.image, table, chosen.batch_size, device), dim=1)
        ids, mask = backbones.text.tokenize(texts)
        text = normalize(encode_texts(backbones.text, ids, mask, chosen.batch_size, device), dim=1)
        text[torch.tensor([not t for t in texts], dtype=torch.bool)] = 0
        np.save(folder / "image.npy", image.numpy())
        np.save(folder / "text.npy", text.numpy())
        random = {
            "image": chosen.image_weights == "none" and chosen.image_backbone != HANDMADE,
            "text": chosen.text_backbone == text_encoder.OWN,
        }
        write_json(folder / "meta.json", {"random_weights": random, "images": len(image), "texts": len(text)})
    say(f"encoded {len(image):,} images to {image.shape[1]} and {len(text):,} texts to {text.shape[1]} dimensions")
