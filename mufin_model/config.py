"""Settings: params.yaml read, overridden and checked; one class a stage.

    settings = load(workspace.params, "demo", ["pretrain.lr=3e-4"])

Later wins: params.yaml's stage section, its `per_dataset.<name>` section, then the overrides in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mufin_model import names
from mufin_model.errors import SettingError
from mufin_model.setting_words import value_words, yaml_words

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(gt=0)]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Rate = Annotated[float, Field(gt=0.0)]


class Stage(BaseModel):
    """Settings of one stage; params.yaml says what each means, its unit and its source."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Ingest(Stage):
    format: str
    image_size: Positive
    validation_fraction: Fraction
    bad_images: Literal["refuse", "drop"]
    max_dropped: Fraction
    keep_links: dict[str, float | list[str]]
    weight_column: str
    ignore_columns: list[str]
    keep_split: bool = False


class Encode(Stage):
    image_backbone: str
    image_weights: str
    image_scaled: Annotated[int, Field(ge=0)]
    text_backbone: str
    text_vocabulary: Positive
    text_width: Positive
    text_layers: Positive
    text_heads: Positive
    text_start: Literal["random", "lsa"]
    max_tokens: Positive
    batch_size: Positive
    keep_weights: bool = False


class Pretrain(Stage):
    modalities: list[Literal["image", "text"]] = Field(min_length=1)
    train_backbones: bool | Literal["auto"]
    dimension: Positive
    heads: Positive
    self_attention: bool
    dropout: Fraction
    modality_dropout: Fraction
    loss: Literal["triplet", "softmax"]
    margin: float
    dynamic_margin: bool
    balanced_positives: bool
    prototypes: Annotated[int, Field(ge=0)]
    early_fusion: bool
    negatives: Positive
    positive_threshold: float
    temperature: Rate
    head: Literal["none", "softmax", "logistic"]
    head_lr: Rate
    head_weight: Annotated[float, Field(ge=0)]
    neighbour_weight: Annotated[float, Field(ge=0)]
    neighbour_temperature: Rate
    epochs: Positive
    least_steps: Annotated[int, Field(ge=0)]
    patience: Annotated[int, Field(ge=0)]
    batch_size: Annotated[int, Field(gt=1)]
    images_per_bag: Positive
    lr: Rate
    backbone_lr: Rate
    weight_decay: float
    warmup: Fraction
    cluster_after: int
    cluster_every: Positive
    cluster_leaf: Positive
    mixed_precision: Precision
    compile: bool
    keep_weights: bool = False


class Index(Stage):
    kind: Literal["flat", "ivf", "hnsw"]
    augment: bool
    augment_weights: Literal["mean"] | Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=3, max_length=3)]
    head_items: Annotated[int, Field(ge=0)]
    hnsw_links: Positive
    hnsw_effort: Positive
    ivf_probes: Positive


class Mine(Stage):
    shortlist: Positive


class Finetune(Stage):
    cross_attention: bool
    classifiers: bool
    epochs: Positive
    least_steps: Annotated[int, Field(ge=0)]
    patience: Annotated[int, Field(ge=0)]
    batch_size: Positive
    positives: Positive
    negatives: Positive
    drop_top_negatives: Annotated[int, Field(ge=0)]
    scale: Rate
    lr: Rate
    classifier_lr: Rate
    end_to_end: bool
    encoder_lr: Rate
    weight_decay: float
    warmup: Fraction
    ridge: bool
    reranked: Positive
    reranker_networks: Positive
    reranker_epochs: Positive
    keep_weights: bool = False


class Predict(Stage):
    components: list[Literal["reranker", "ridge", "classifier", "siamese", "head", "neighbours", "frequency"]] = Field(
        min_length=1
    )
    shortlist: Positive
    top_k: Positive
    neighbours: Positive


class Evaluate(Stage):
    ks: list[Positive] = Field(min_length=1)
    recall_ks: list[Positive] = Field(min_length=1)
    propensity_a: Rate
    propensity_b: Rate
    gallery: Positive
    gate_share: Fraction


class Release(Stage):
    licence: str
    gate: bool
    metrics: list[Annotated[str, Field(pattern=r"^(P|nDCG|R)@([1-9]|10)$")]] = Field(min_length=1)
    tolerance: Fraction
    bucket_tolerance: Fraction
    risk: Fraction
    least_links: Positive
    least_items: Positive
    rescore_items: Positive
    milliseconds: Rate
    megabytes: Rate
    checks: Literal["critical", "all"]
    keep: Positive


class Settings(BaseModel):
    """All of params.yaml, for one dataset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int
    ingest: Ingest
    encode: Encode
    pretrain: Pretrain
    index: Index
    mine: Mine
    finetune: Finetune
    predict: Predict
    evaluate: Evaluate
    release: Release


KEEPS: dict[str, str] = {
    "ingest": "keep_split",
    "encode": "keep_weights",
    "pretrain": "keep_weights",
    "finetune": "keep_weights",
}
"""Stages that learn, and the field that keeps what they learnt. A run's mode sets it (run_mode.py), no file."""

STAGES: tuple[str, ...] = tuple(name for name in Settings.model_fields if name != "seed")
"""The verbs that have a section in params.yaml, in order."""


def load(path: Path, dataset: str, overrides: Sequence[str] = (), *, new: bool = False) -> Settings:
    """Read params.yaml for one dataset.

    Args:
        path: params.yaml.
        dataset: one of its `datasets`.
        overrides: strings `stage.key=value` (or `seed=value`), the value written as in YAML; `preset=name`
            stands for all the settings under that name in `presets`.
        new: the dataset need not be registered yet.

    Raises:
        SettingError: a key is unknown (the nearest match is named), a value is out of range or not YAML.
        DatasetError: the dataset is not registered.
    """
    raw = read(path)
    known = raw.pop("datasets", [])
    per_dataset = raw.pop("per_dataset", None) or {}
    presets = raw.pop("presets", None) or {}
    for name in ("automation", "execution"):  # no stage's affair (mufin_dagster)
        raw.pop(name, None)
    if not new:
        names.chosen([dataset], known, f"{path}, key datasets")
    own = dict(per_dataset.get(dataset) or {})
    if (seed := own.pop("seed", None)) is not None:
        raw["seed"] = seed
    _merge(raw, own, f"{path}, key per_dataset.{dataset}")
    for stage, field in KEEPS.items():
        if (raw.get(stage) or {}).pop(field, False):
            raise SettingError(
                f"{stage}.{field} belongs to a run, not to the settings",
                where=str(path),
                mend=f"remove it; `mufin refresh -d {dataset}` keeps what was learnt, for that run",
            )
        if stage in raw:
            raw[stage][field] = False
    for override in overrides:
        key, _, name = override.partition("=")
        if key == "preset":
            if name not in presets:
                raise _unknown(f"{path}, key presets", name, presets)
            _merge(raw, presets[name] or {}, f"{path}, key presets.{name}")
        else:
            _apply(raw, override)
    return _validate(raw, str(path))


def datasets(path: Path, asked: Sequence[str] = ()) -> list[str]:
    """The datasets asked for, or all of params.yaml where none is.

    Raises:
        DatasetError: one is not registered.
    """
    return names.chosen(asked, read(path).get("datasets") or [], f"{path.name}, key datasets")


def read(path: Path) -> dict[str, Any]:
    """params.yaml as it stands.

    Raises:
        SettingError: it is missing or no YAML mapping.
    """
    try:
        raw = yaml.load(path.read_text(), Loader=_Loader)
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise SettingError(
            f"cannot read the settings: {yaml_words(error)}",
            where=str(path),
            mend="restore the file, or mend that line",
        ) from error
    if not isinstance(raw, dict):
        raise SettingError("the settings are no mapping", where=str(path), mend="restore the file")
    return raw


def parse_override(override: str) -> tuple[list[str], Any]:
    """`"pretrain.lr=3e-4"` as (["pretrain", "lr"], 0.0003).

    Raises:
        SettingError: there is no `=`, or the value is no YAML.
    """
    key, equals, value = override.partition("=")
    if not equals:
        raise SettingError(f"an override needs key=value, got {override!r}", mend="for example pretrain.lr=3e-4")
    try:
        return key.strip().split("."), yaml.load(value, Loader=_Loader)
    except yaml.YAMLError as error:
        raise SettingError(f"the value of {key} is no YAML: {value!r}", mend="write it as in params.yaml") from error


def _merge(raw: dict[str, Any], sections: dict[str, Any], where: str) -> None:
    for section, values in sections.items():
        if section not in STAGES:
            raise _unknown(where, section, STAGES)
        raw[section] = {**(raw.get(section) or {}), **(values or {})}


def _apply(raw: dict[str, Any], override: str) -> None:
    keys, value = parse_override(override)
    *sections, last = keys
    target = raw
    for section in sections:
        if not isinstance(target.get(section), dict):
            raise _unknown(f"override {override!r}", section, target)
        target = target[section]
    if last not in target:
        raise _unknown(f"override {override!r}", last, target)
    target[last] = value


def _validate(raw: dict[str, Any], where: str) -> Settings:
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            section = first["loc"][:-1]
            model: Any = Settings.model_fields[str(section[0])].annotation if section else Settings
            raise _unknown(where, key, [".".join([*map(str, section), name]) for name in model.model_fields]) from error
        raise SettingError(
            f"{key}: {value_words(first)}",
            where=f"{where}, key {key}",
            rows=[f"got {first['input']!r}"] if first["type"] != "missing" else [],
            mend="params.yaml says each setting's range beside it",
        ) from error


def _unknown(where: str, key: str, known: Any) -> SettingError:
    near = names.nearest(key, known)
    return SettingError(
        f"unknown setting {key!r}", where=where, mend=near or f"known here: {', '.join(sorted(map(str, known)))}"
    )


# libyaml's, where the wheel has it, is ten times as fast.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML 1.2 floats: `3e-4` is a number, as users expect and DVC writes it."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    __import__("re").compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"),
    list("-+0123456789."),
)
_Loader.yaml_implicit_resolvers = {
    first: sorted(resolvers, key=lambda pair: pair[0] == "tag:yaml.org,2002:float")
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
