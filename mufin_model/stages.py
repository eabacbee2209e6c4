"""The nine stages by verb: the module that runs each, and what else decides over its result."""

from __future__ import annotations

LIBRARY: dict[str, tuple[str, str]] = {
    "ingest": ("mufin_model.catalog.ingest", "Check a catalogue, split it, decode its images once."),
    "encode": ("mufin_model.encoders.encode", "Run the image and text backbones over every descriptor."),
    "pretrain": ("mufin_model.training.pretrain", "Module I: embed items and labels in one space."),
    "index": ("mufin_model.retrieval.build_index", "Module II: augmented label vectors and their index."),
    "mine": ("mufin_model.retrieval.mine", "Module II: shortlists of hard negatives."),
    "finetune": ("mufin_model.training.finetune", "Modules III and IV: cross-attention and classifiers."),
    "predict": ("mufin_model.inference.predict", "Score the test items."),
    "evaluate": ("mufin_model.evaluation.evaluate", "Metrics, baselines and the report."),
    "release": ("mufin_model.release.release", "Gather what serving loads, with its model card."),
}
"""Verb to (module, help). Each module has `run(workspace, dataset, settings)`."""

JUDGES: dict[str, tuple[str, ...]] = {"release": ("mufin_dagster.quality.validator",)}
"""Modules by name that the console script asks before a verb runs; where they are not installed, nobody asks."""


def entries(verb: str) -> tuple[str, ...]:
    """The modules from which all code of a stage is reached by imports."""
    return (LIBRARY[verb][0], *JUDGES.get(verb, ()))
