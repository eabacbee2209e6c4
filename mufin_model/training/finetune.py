"""Stage `finetune`, Modules III and IV: the ranker trained on shortlists. Leaves `finetuned_classifiers`.

    model.safetensors, config.json   the ranker
    classifiers.npy                  w_l, unit rows float32 [n_seen, D]
    encoder/                         where it was tuned: model.safetensors (projections, backbones that Module I
                                     tuned), backbones/, and the descriptors anew, image.npy and text.npy
    labels.parquet                   which label each row is, and whether its weights were trained
    ridge/                           closed-form classifiers and the re-ranker (`mufin_model.ridge.fit`)
    loss.csv

Module III is what it starts from: the pretrained model's projected descriptors and its A_S. With `end_to_end` (the
paper's second ranker, "pp" in its code) the encoder goes on training at a smaller rate; Module II's shortlists stay
those of the pretrained encoder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_model
from torch import Tensor, nn

from mufin_model.arrays import read_array
from mufin_model.artefacts import Workspace, read_json, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.config import Finetune, Settings
from mufin_model.encoders.backbones import Backbones
from mufin_model.losses.logistic import logistic_loss
from mufin_model.network import store
from mufin_model.network.bags import BagBatch, Bags
from mufin_model.network.classifiers import Classifiers
from mufin_model.network.embedder import Embedder, TunedImages
from mufin_model.network.ranker import Ranker
from mufin_model.network.score import label_side, nearest, score_shortlists
from mufin_model.progress import main_rank, say
from mufin_model.ridge import fit as ridge
from mufin_model.training.batching import batch_of, batches
from mufin_model.training.descriptors import CachedDescriptors, pretrained_encoder, re_encode
from mufin_model.training.keep import keep_finetuned, start, write_labels
from mufin_model.training.loop import Group, Plan, fit, passes, write_curve
from mufin_model.training.ranks import accelerator, ranks_of, synchronise_norms, written
from mufin_model.training.shortlists import ShortlistSampler
from mufin_model.training.stopping import Stopping, Validation

NOUN = "finetuned_classifiers"

SHORTLIST = 50
"""Labels that are ranked for each validation item, its filter pairs not counted."""


class FinetuneStep(nn.Module):
    """One step of Module IV.

    Args:
        ranker: trains.
        encoder: what gives the descriptors; an Embedder trains too, cached ones do not and are in no checkpoint.
    """

    def __init__(self, ranker: Ranker, encoder: Embedder | CachedDescriptors) -> None:
        super().__init__()
        self.ranker, self.encoder = ranker, encoder

    def forward(
        self,
        items: BagBatch,
        labels: Tensor,
        targets: BagBatch,
        at: Tensor,
        positive: Tensor,
        real: Tensor,
        weight: float,
    ) -> Tensor:
        """Loss of B items and their labels `at` [B, S], places among U distinct `labels` with their bags `targets`.

        weight: of this rank's mean over its real pairs, so that the ranks' mean is that over all real pairs.
        """
        item = self.ranker.bags(items, *self.encoder.descriptors(items))
        side = self.ranker.label_side(labels, targets, *self.encoder.descriptors(targets))
        cosine = self.ranker.score(*item, *side, at)
        return weight * logistic_loss(cosine, positive, real, self.ranker.scale, self.ranker.shift)

    def see(self, bags: Bags, n_images: int, entities: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
        """Descriptors as they are now, [n_images, D] and [n_texts, D]; of these entities at least, all by default."""
        if isinstance(self.encoder, CachedDescriptors):
            return self.encoder.images.table, self.encoder.texts.table
        rows = None
        if entities is not None:
            taken = bags.take(entities)
            rows = taken.images.numpy(), np.unique(entities)
        device = self.ranker.scale.device
        image, text = re_encode(self.encoder, (n_images, bags.n_items + bags.n_labels), rows, bags=bags)
        return image.to(device), text.to(device)


def run(workspace: Workspace, dataset: str, settings: Settings) -> None:
    """Train the ranker of one dataset.

    Raises:
        ArtefactError: an earlier artefact is missing.
    """
    chosen = settings.finetune
    if chosen.keep_weights:
        if main_rank():
            keep_finetuned(workspace, dataset, settings)
        return
    catalog = Catalog.load(workspace.read(dataset, "raw_descriptors"))
    folder = workspace.read(dataset, "pretrained_model")
    mined = workspace.read(dataset, "mined_negatives")
    # of the artefact, not of params.yaml: what pretraining ran with is what this goes on from
    before = read_json(folder / "config.json")
    trained = before.get("trained_parameters", 0) if chosen.end_to_end else 0
    accelerate, drop = accelerator(before["mixed_precision"], trained), float(before["modality_dropout"])
    state = workspace.state(dataset, NOUN)
    torch.manual_seed(settings.seed)
    pretrained = store.load_pretrained(folder, accelerate.device)
    bags = pretrained.bags(catalog)
    items, labels = (
        read_array(folder / f"{name}_embeddings.npy", shape=(rows, pretrained.dimension))
        for name, rows in (("item", catalog.items.height), ("label", catalog.n_labels))
    )
    begin = start(catalog, items, labels)
    ranker = store.make_ranker(
        pretrained, Classifiers(begin, chosen.classifiers), chosen.cross_attention, chosen.scale
    ).to(accelerate.device)
    encoder: Embedder | CachedDescriptors = CachedDescriptors(pretrained.image, pretrained.text)
    read = [catalog.folder, folder, mined]
    if chosen.end_to_end:
        encoded = workspace.read(dataset, "encoder_embeddings")
        read.append(encoded)
        with accelerate.main_process_first():  # it decodes the images, which the others then open
            encoder, backbones = pretrained_encoder(folder, catalog, encoded, state, accelerate.is_main_process)
        encoder.to(accelerate.device)
        if isinstance(encoder.images, TunedImages):
            encoder.images.settle(accelerate.device)
            synchronise_norms(accelerate, encoder.images.backbone)
    step, ranks = FinetuneStep(ranker, encoder), ranks_of(accelerate)
    train = catalog.rows("train")
    sampler = ShortlistSampler(catalog.weighted("train"), mined, chosen)
    size = batch_of(len(sampler.usable), chosen.batch_size)

    def epoch_batches(epoch: int) -> Iterator[tuple[Any, ...]]:
        rng = np.random.default_rng([settings.seed, 2, epoch])
        for rows in batches(rng.permutation(sampler.usable), size):
            # Drawn for the whole batch on every rank; each takes its share.
            drawn, positive, real = sampler.draw(rows, rng)
            own, pairs = ranks.own(len(rows)), int(real.sum())
            item_bags = bags.take(train[rows], drop=drop, rng=rng).part(own)
            drawn, positive, real = drawn[own], positive[own], real[own]
            unique, at = np.unique(drawn, return_inverse=True)
            tensors = (torch.from_numpy(x) for x in (at.reshape(drawn.shape), positive, real))
            weight = ranks.count * int(real.sum()) / max(1, pairs)
            label_bags = bags.take(bags.labels(unique))
            yield encoder.load(item_bags), torch.from_numpy(unique), encoder.load(label_bags), *tensors, weight

    validation, seen = Validation.of(catalog), np.arange(catalog.n_seen)
    rows = validation.rows
    shortlist = nearest(torch.from_numpy(items[rows]), begin, SHORTLIST + validation.depth)

    def validate() -> dict[str, float]:
        image, text = step.see(bags, len(catalog.images), np.concatenate([rows, bags.labels(seen)]))
        side = label_side(ranker, bags, image, text, catalog.n_seen)
        return validation(shortlist, score_shortlists(ranker, bags, image, text, side, rows, shortlist))

    with written(accelerate, workspace, dataset, NOUN) as out:
        steps = len(batches(sampler.usable, size))
        plan = Plan(
            name="finetune",
            seed=settings.seed,
            epochs=passes(chosen.epochs, chosen.least_steps, steps),
            warmup=chosen.warmup,
            weight_decay=chosen.weight_decay,
            groups=_groups(step, chosen),
            batches=epoch_batches,
            steps=steps,
            validate=validate,
            stopping=Stopping(chosen.patience, validation.judged),
            state=state,
            key=[settings.seed, drop, chosen.model_dump(), *map(store.stamps, read)],
        )
        curve = fit(accelerate, step, plan)
        if out is not None:
            image, text = step.see(bags, len(catalog.images))
            _write(out, ranker, label_side(ranker, bags, image, text, catalog.n_seen)[1], chosen)
            if isinstance(encoder, Embedder):
                _write_encoder(out / store.ENCODER, encoder, backbones, image, text)
            write_labels(out, catalog)
            write_curve(out / "loss.csv", curve)
            if chosen.ridge:
                ridge.write_for(workspace, dataset, settings, catalog, out, accelerate.device)
    say(f"finetuned {catalog.n_seen:,} classifiers")


def _groups(step: FinetuneStep, chosen: Finetune) -> list[Group]:
    ranker = step.ranker
    shared = nn.ModuleList([m for name, m in ranker.named_children() if name != "classifiers"])
    affine = nn.ParameterList([ranker.scale, ranker.shift])
    groups = [Group(shared, chosen.lr), Group(affine, chosen.lr * 10), Group(ranker.classifiers, chosen.classifier_lr)]
    return [*groups, Group(step.encoder, chosen.encoder_lr)]


def _write(out: Path, ranker: Ranker, classifiers: Tensor, chosen: Finetune) -> None:
    save_model(ranker, str(out / "model.safetensors"))
    np.save(out / "classifiers.npy", classifiers.cpu().numpy())
    kept = {"cross_attention", "classifiers", "scale", "end_to_end"}
    write_json(out / "config.json", chosen.model_dump(include=kept))


def _write_encoder(out: Path, encoder: Embedder, backbones: Backbones, image: Tensor, text: Tensor) -> None:
    backbones.save(out / "backbones")
    save_model(encoder, str(out / "model.safetensors"))
    np.save(out / "image.npy", image.cpu().numpy())
    np.save(out / "text.npy", text.cpu().numpy())
