"""Stage `pretrain`, Module I: items and labels into one space. Leaves `pretrained_model`.

model.safetensors, config.json   the embedder: projections, A_S, and the backbones where they were tuned
backbones/                       the tuned backbones with their tokenizer, or those of `encode`
image.npy [n_images, D]          descriptors as the trained model sees them, before A_S (Module III)
text.npy  [n_items+n_labels, D]; with early fusion twice as long: texts alone, then texts read with their images
item_embeddings.npy, label_embeddings.npy   unit vectors after A_S; seen labels enriched, where there are prototypes
labels.parquet                   which seen label each row is, and whether its weights were trained
loss.csv
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_model
from torch import Tensor, nn
from torch.nn.functional import normalize

from mufin_model.artefacts import Workspace, read_json, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.links import places
from mufin_model.config import Pretrain, Settings
from mufin_model.encoders.backbones import Backbones
from mufin_model.evaluation.metrics import without
from mufin_model.losses import LOSSES
from mufin_model.losses.head import head_loss
from mufin_model.losses.neighbour import neighbour_loss
from mufin_model.network import store
from mufin_model.network.bags import BagBatch, Bags
from mufin_model.network.classifiers import Head
from mufin_model.network.embedder import Embedder, FrozenVectors, TunedImages, unit_vectors
from mufin_model.network.prototypes import Prototypes
from mufin_model.network.score import nearest
from mufin_model.progress import main_rank, say
from mufin_model.training.batching import balanced_clusters, batch_of, batches
from mufin_model.training.descriptors import re_encode, sources
from mufin_model.training.keep import keep_pretrained, write_labels
from mufin_model.training.loop import Group, Plan, fit, passes, write_curve
from mufin_model.training.positives import Positives
from mufin_model.training.ranks import Ranks, accelerator, ranks_of, synchronise_norms, written
from mufin_model.training.stopping import Stopping, Validation

NOUN = "pretrained_model"

KEPT = {"modalities", "dimension", "heads", "self_attention", "dropout", "modality_dropout", "mixed_precision"} | {
    "early_fusion",
    "images_per_bag",
}
"""Settings that later stages go on with, in config.json."""

FAR = -1e4
"""Score of a pair that has no say, in place of its own: no loss pushes it further away."""


class PretrainStep(nn.Module):
    """One step of Module I. Keeps the item embeddings seen in training, for the next clustering."""

    seen: Tensor
    cluster: Tensor

    def __init__(
        self,
        embedder: Embedder,
        settings: Pretrain,
        n_train: int,
        n_labels: int,
        ranks: Ranks | None = None,
        prototypes: Prototypes | None = None,
    ) -> None:
        super().__init__()
        self.prototypes = prototypes
        self.ranks = ranks or Ranks()
        self.embedder, self.settings, self.n_labels = embedder, settings, n_labels
        self.head = None if settings.head == "none" else Head(n_labels, settings.dimension)
        self.register_buffer("seen", torch.zeros(n_train, settings.dimension))
        # In the checkpoint, so that a resumed run goes on with the clusters it had.
        self.register_buffer("cluster", torch.zeros(n_train, dtype=torch.int64))

    def forward(
        self,
        rows: Tensor,
        items: BagBatch,
        labels: BagBatch,
        standing: Tensor,
        truth: Tensor | None = None,
        removed: Tensor | None = None,
    ) -> Tensor:
        """The step's loss.

        Args:
            rows: places of the B items among the training items.
            items, labels: bags of this rank's share of B items and U labels; of all of them where there is one rank.
            standing: int8 [B, U], 1 where relevant, -1 for a filter pair, which is no negative either, else 0.
            truth, removed: relevant and filter pairs over all labels, places int64 in a flat [B · L]; for the head
                and the neighbour loss alone, filter pairs None where the catalogue has none. (On the device they are
                made masks: those would be most of what a step has to copy there.)
        """
        (n_items, n_labels), own = standing.shape, self.embedder(items)
        own_label = self.embedder(labels)
        item, label = self.ranks.gather(own, n_items), self.ranks.gather(own_label, n_labels)
        self.seen[rows] = item.detach().to(self.seen.dtype)
        chosen = self.settings
        positive, filtered = standing > 0, standing < 0

        def contrast(label: Tensor) -> Tensor:
            loss: Tensor = LOSSES[chosen.loss]((item @ label.T).masked_fill(filtered, FAR), positive, chosen)
            return loss

        loss = contrast(label)
        if self.prototypes is not None:
            # Both: the raw vectors are what zero-shot labels are found by.
            enriched = self.ranks.gather(self.prototypes(own_label, labels.texts), n_labels)
            loss = loss + contrast(enriched)
        if truth is None:
            return loss
        relevant = self._mask(truth, n_items)
        if self.head is not None and chosen.head != "none" and len(own):
            # The head is the dear part of a step, so each rank takes its own items; its mean is over all of them.
            weight, mine = chosen.head_weight * (self.ranks.count * len(own) / n_items), self.ranks.own(n_items)
            logits = self.head(own)
            if removed is not None:
                logits = logits.masked_fill(self._mask(removed, n_items)[mine], FAR)
            loss = loss + weight * head_loss(logits, relevant[mine], chosen.head)
        if chosen.neighbour_weight:
            loss = loss + chosen.neighbour_weight * neighbour_loss(item, relevant, chosen.neighbour_temperature)
        return loss

    def _mask(self, flat: Tensor, n_items: int) -> Tensor:
        """Places in [B · L], as a mask [B, L]."""
        mask = torch.zeros(n_items * self.n_labels, dtype=torch.bool, device=flat.device)
        return mask.index_fill_(0, flat, True).view(n_items, self.n_labels)


def run(workspace: Workspace, dataset: str, settings: Settings) -> None:
    """Train the embedder of one dataset.

    Raises:
        ArtefactError: an earlier artefact is missing.
    """
    chosen = settings.pretrain
    if chosen.keep_weights:
        if main_rank():
            keep_pretrained(workspace, dataset)
        return
    catalog = Catalog.load(workspace.read(dataset, "raw_descriptors"))
    encoded = workspace.read(dataset, "encoder_embeddings")
    bags = Bags(catalog, list(chosen.modalities))
    torch.manual_seed(settings.seed)
    backbones, tuned = Backbones.load(encoded / "backbones"), _tuned(chosen, encoded)
    trained = sum(weight.numel() for name in tuned if tuned[name] for weight in getattr(backbones, name).parameters())
    accelerate = accelerator(chosen.mixed_precision, trained)
    state = workspace.state(dataset, NOUN)
    with written(accelerate, workspace, dataset, NOUN) as folder:
        with accelerate.main_process_first():  # it decodes the images, which the others then open
            towers = sources(tuned, catalog, encoded, backbones, state, accelerate.is_main_process)
        embedder = Embedder(*towers, chosen)
        embedder.to(accelerate.device)
        if isinstance(embedder.images, TunedImages):
            embedder.images.settle(accelerate.device)
            synchronise_norms(accelerate, embedder.images.backbone)
        if chosen.compile:
            backbones.fuse(accelerate.device)
        prototypes = _prototypes(embedder, bags, settings, catalog.n_seen) if chosen.prototypes else None
        ranks = ranks_of(accelerate)
        step = PretrainStep(embedder, chosen, len(catalog.rows("train")), catalog.n_seen, ranks, prototypes)
        step.to(accelerate.device)
        if prototypes is not None:
            ranks.in_step(prototypes.cluster)
        curve = fit(accelerate, step, plan(settings, catalog, bags, step, state, encoded))
        if folder is not None:
            _write(folder, step, backbones, catalog, trained)
            write_curve(folder / "loss.csv", curve)
    say(f"pretrained on {len(step.seen):,} items and {catalog.n_seen:,} labels")


def _prototypes(embedder: Embedder, bags: Bags, settings: Settings, n_labels: int) -> Prototypes:
    """Clusters of like labels, as the embedder sees them before training; about as many as asked for."""
    chosen = settings.pretrain
    vectors = embed(embedder.eval(), bags, bags.labels(np.arange(n_labels))).numpy()
    leaf = -(-n_labels // chosen.prototypes)
    cluster = torch.zeros(n_labels, dtype=torch.int64)
    for number, rows in enumerate(balanced_clusters(vectors, leaf, np.random.default_rng([settings.seed, 3]))):
        cluster[torch.from_numpy(rows)] = number
    return Prototypes(cluster, bags.n_items, chosen.dimension, chosen.heads, chosen.dropout)


def _write(folder: Path, step: PretrainStep, backbones: Backbones, catalog: Catalog, trained: int) -> None:
    embedder = step.embedder
    backbones.save(folder / "backbones")
    save_model(embedder, str(folder / "model.safetensors"))
    config = step.settings.model_dump(include=KEPT)
    towers = {"image": embedder.images, "text": embedder.texts}
    config["widths"] = [tower.width for tower in towers.values()]
    config["tuned"] = {name: not isinstance(tower, FrozenVectors) for name, tower in towers.items()}
    config["trained_parameters"] = trained
    config["enriched"] = step.prototypes is not None
    write_json(folder / "config.json", config)
    write_labels(folder, catalog)
    if step.head is not None:
        np.save(folder / "head.npy", normalize(step.head.vectors.detach(), dim=1).cpu().numpy())
    _write_vectors(folder, step, catalog)


def _tuned(chosen: Pretrain, encoded: Path) -> dict[str, bool]:
    """Which backbones train, by modality."""
    random = read_json(encoded / "meta.json")["random_weights"]
    return {
        name: name in chosen.modalities
        and (bool(random[name]) if chosen.train_backbones == "auto" else chosen.train_backbones)
        for name in ("image", "text")
    }


def plan(settings: Settings, catalog: Catalog, bags: Bags, step: PretrainStep, state: Path, encoded: Path) -> Plan:
    """How `fit` trains the step: batches, learning rates, validation."""
    chosen = settings.pretrain
    train, links = catalog.rows("train"), catalog.links("train")
    removed = without(catalog.filters("train"), links)
    relations = (links - removed).tocsr()
    linked = np.flatnonzero(np.diff(links.indptr))
    size = batch_of(len(linked), chosen.batch_size)
    embedder, positives = step.embedder, Positives(catalog.weighted("train"), chosen.balanced_positives)
    over_all = chosen.head != "none" or chosen.neighbour_weight > 0

    def order(epoch: int, rng: np.random.Generator) -> np.ndarray:
        if epoch < chosen.cluster_after:
            return rng.permutation(linked)
        if (epoch - chosen.cluster_after) % chosen.cluster_every == 0:
            vectors = step.seen.cpu().numpy()[linked]
            found = balanced_clusters(vectors, chosen.cluster_leaf, np.random.default_rng([settings.seed, epoch]))
            numbers = np.zeros(len(step.cluster), np.int64)
            for number, rows in enumerate(found):
                numbers[linked[rows]] = number
            step.cluster.copy_(torch.from_numpy(numbers))
            step.ranks.in_step(step.cluster)
        cluster = step.cluster.cpu().numpy()[linked]
        return linked[np.argsort(rng.permutation(cluster.max() + 1)[cluster], kind="stable")]

    def epoch_batches(epoch: int) -> Iterator[tuple[Any, ...]]:
        rng = np.random.default_rng([settings.seed, 1, epoch])
        ranks = step.ranks
        if step.prototypes is not None:
            step.prototypes.refresh(links, step.seen)
        for rows in batches(order(epoch, rng), size):
            # One positive label of each item; every other positive in the batch is known too.
            labels = np.unique(positives.draw(rows, rng))
            standing = torch.from_numpy(relations[rows][:, labels].toarray().astype(np.int8))
            items = bags.take(train[rows], limit=chosen.images_per_bag, drop=chosen.modality_dropout, rng=rng)
            targets = bags.take(bags.labels(labels), limit=chosen.images_per_bag, rng=rng)
            truth = torch.from_numpy(places(links[rows])) if over_all else None
            filtered = torch.from_numpy(places(removed[rows])) if over_all and removed.nnz else None
            # Drawn for the whole batch on every rank, so that all know all of it; only the share is loaded.
            items, targets = (embedder.load(each.part(ranks.own(len(each.texts)))) for each in (items, targets))
            yield torch.from_numpy(rows), items, targets, standing, truth, filtered

    tuned = [s.backbone for s in (embedder.images, embedder.texts) if not isinstance(s, FrozenVectors)]
    own = nn.ModuleList([embedder.project_image, embedder.project_text])
    own.extend(m for m in (embedder.attention, embedder.tokens, step.prototypes) if m is not None)
    heads = [] if step.head is None else [Group(step.head, chosen.head_lr)]
    steps, validation = len(batches(linked, size)), Validation.of(catalog)
    return Plan(
        name="pretrain",
        seed=settings.seed,
        epochs=passes(chosen.epochs, chosen.least_steps, steps),
        warmup=chosen.warmup,
        weight_decay=chosen.weight_decay,
        groups=[Group(own, chosen.lr), *heads, *(Group(backbone, chosen.backbone_lr) for backbone in tuned)],
        batches=epoch_batches,
        steps=steps,
        validate=lambda: _validate(step, bags, catalog, validation),
        stopping=Stopping(chosen.patience, validation.judged),
        state=state,
        key=[settings.seed, chosen.model_dump(), store.stamps(catalog.folder), store.stamps(encoded)],
    )


@torch.inference_mode()
def embed(embedder: Embedder, bags: Bags, entities: np.ndarray, batch: int = 512) -> Tensor:
    """Unit vectors [n, D] on the CPU of any entities, all their images used."""
    device = next(embedder.parameters()).device
    chunks = np.split(entities, range(batch, len(entities), batch))
    return torch.cat([embedder(bags.take(rows).to(device)).float().cpu() for rows in chunks])


def _validate(step: PretrainStep, bags: Bags, catalog: Catalog, validation: Validation) -> dict[str, float]:
    """How well the siamese score ranks the labels of validation items, by exact search."""
    seen = bags.labels(np.arange(catalog.n_seen))
    if not len(validation.rows) or not len(seen):
        return validation(np.zeros((0, 0), np.int64))
    labels = embed(step.embedder, bags, seen)
    if step.prototypes is not None:
        labels = step.prototypes(labels.to(step.seen.device), torch.from_numpy(seen).to(step.seen.device)).cpu()
    return validation(nearest(embed(step.embedder, bags, validation.rows), labels, validation.depth))


@torch.inference_mode()
def _write_vectors(folder: Path, step: PretrainStep, catalog: Catalog) -> None:
    """Re-encode every descriptor with the trained weights, then every item and label from those."""
    embedder, prototypes = step.embedder, step.prototypes
    bags = Bags(catalog, list(step.settings.modalities), fused=embedder.tokens is not None)
    image, text = re_encode(embedder, (len(catalog.images), bags.n_items + bags.n_labels), bags=bags)
    np.save(folder / "image.npy", image.numpy())
    np.save(folder / "text.npy", text.numpy())
    attention = embedder.attention.cpu() if embedder.attention is not None else None
    every = unit_vectors(attention, bags, image, text, np.arange(bags.n_items + bags.n_labels))
    items, labels = every[: bags.n_items], every[bags.n_items :]
    if prototypes is not None:
        prototypes.cpu().eval().refresh(catalog.links("train"), items[torch.from_numpy(catalog.rows("train"))])
        seen = torch.from_numpy(bags.labels(np.arange(catalog.n_seen)))
        labels[: catalog.n_seen] = prototypes(labels[: catalog.n_seen], seen)
    np.save(folder / "item_embeddings.npy", items.numpy())
    np.save(folder / "label_embeddings.npy", labels.numpy())
