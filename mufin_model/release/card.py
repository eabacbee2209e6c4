"""model_card.md: what a released model is, in the words of whoever meets it first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from mufin_model.config import Settings
from mufin_model.evaluation import table
from mufin_model.evaluation.buckets import enough
from mufin_model.evaluation.floor import FEW_ITEMS

CARD = """# MUFIN, trained on {dataset}

Given an item's images and text, this model ranks {labels:,} labels. It embeds items and labels in one space
({dimension} dimensions, Module I), shortlists labels by an index (Module II), and scores the shortlist by
cross-attention and one classifier a label (Modules III and IV); the final score is a weighted sum, its weights
chosen on validation items.
Method: Mittal et al., Multi-modal Extreme Classification, CVPR 2022.

Licence: {licence}.

## Data

{summary}

## How good it is

On {items:,} of the {all_items:,} test items, in per cent; filtered pairs are removed from predictions and truth. The
release gate decides by the other test items, so these figures are a fair test.{few}

{table}

The first ten answers of each of these items, as they are served from this folder: {served}.
{zero_shot}
## Limits

- It ranks the labels of labels.parquet alone.{unseen_note} New labels need `mufin index` at least.
- Scores order the labels of one item; they are no probabilities, and do not compare between items.
- Recall in the first ten differs between rare and frequent labels: {recalls}.
- It knows what the training data show. Check it on items like yours before it decides anything.

## How to use it

`mufin serve` answers `POST /predict` over HTTP (docs/releases.md); or in Python, from this folder alone:

```python
from pathlib import Path
from mufin_model.release.model import Model
from mufin_model.release.queries import Query

model = Model(Path("released_model"))
model([Query("an item's text")], 5)
```

## How to load its parts

Image backbone: `{image_backbone}`; text backbone: `{text_backbone}`; images are {image_size} px squares, texts are
cut at {max_tokens} tokens. The sub-folders are those of `data/{dataset}/`, so the library reads them where they lie:

```python
from pathlib import Path
import torch
from mufin_model.network import store
from mufin_model.retrieval.label_index import LabelIndex

folder = Path("released_model")
pretrained = store.load_pretrained(folder / "pretrained_model", torch.device("cpu"))
index = LabelIndex.load(folder / "anns_index")
```

manifest.json lists the MD5 of each file, and what the release was made of;
`mufin_model.release.package.verify(folder)` checks them.
"""

SERVED = ("P@1", "P@5", "nDCG@5", "R@10")
"""Figures of what is served that the card tells."""


def card(
    dataset: str,
    settings: Settings,
    summary: Mapping[str, Any],
    metrics: Mapping[str, Any],
    served: Mapping[str, float],
    labels: pl.DataFrame,
) -> str:
    """The card's text.

    Args:
        dataset: its name.
        settings: of the run.
        summary: raw_descriptors' summary.json.
        metrics: eval_report's metrics.json.
        served: the figures of what a release can score by.
        labels: id, text, zero_shot.
    """
    told, unseen = metrics["card"], metrics.get("zero_shot")
    return CARD.format(
        dataset=dataset,
        labels=labels.height,
        dimension=settings.pretrain.dimension,
        licence=settings.release.licence,
        summary="\n".join(
            f"- {name.replace('_', ' ')}: {value:,}" for name, value in summary.items() if isinstance(value, int)
        ),
        items=told["items"],
        all_items=metrics["items"],
        few=" They are too few to tell more than a rough figure." if told["items"] < FEW_ITEMS else "",
        table=table.markdown(table.in_order(told["methods"])),
        served=", ".join(f"{name} {100 * value:.2f}" for name, value in served.items() if name in SERVED),
        zero_shot=(
            f"\nLabels never seen in training: {100 * unseen['R@10']:.1f} % of them are in the first ten"
            f" of {unseen['labels']:,} (by chance {100 * unseen['chance R@10']:.2f} %).\n"
            if unseen
            else ""
        ),
        unseen_note=" Zero-shot ones have no classifier." if labels["zero_shot"].any() else "",
        recalls=recalls(told["buckets"]),
        image_backbone=settings.encode.image_backbone,
        text_backbone=settings.encode.text_backbone,
        image_size=settings.ingest.image_size,
        max_tokens=settings.encode.max_tokens,
    )


def recalls(groups: Mapping[str, Mapping[str, float]]) -> str:
    """Of the rarest and the most frequent labels, in words; buckets of too few true links cannot tell."""
    order = sorted(groups, key=lambda name: int(name.lstrip(">").split("-")[0]))
    ends = dict.fromkeys([order[0], order[-1]]) if order else {}
    lines = [
        f"{100 * groups[name]['recall_10']:.1f} % for labels with {name} training items"
        if enough(groups[name])
        else f"for labels with {name} training items, {groups[name]['links']:,} true links of"
        f" {groups[name]['labels']:,} labels are too few to tell"
        for name in ends
    ]
    return "; ".join(lines) or "no label has training items"
