"""The settings of one run: params.yaml as it stood when the run began on a dataset, for all of its stages.

A run's overrides are written to params.yaml first, all of them at once. Then the file is copied to
`data/<dataset>/.state/settings/<run>.yaml`, which the stages' commands read. An edit of params.yaml, or another launch,
changes nothing in a run that is under way.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mufin_dagster import params, versioning
from mufin_dagster.pipeline import Stage, value_at
from mufin_model.artefacts import PARAMS, Workspace
from mufin_model.config import load, read
from mufin_model.errors import SettingError

KEPT = 20
"""Copies that stay, of a dataset's last runs."""


class RunSettings:
    """A run's copy.

    Args:
        workspace: the project.
        dataset: one of its datasets.
        path: of the copy, relative to the project.
    """

    def __init__(self, workspace: Workspace, dataset: str, path: Path) -> None:
        self.workspace, self.dataset, self.path = workspace, dataset, path

    @property
    def environment(self) -> dict[str, str]:
        """Of the stages' commands."""
        return {PARAMS: self.path.as_posix()}

    def of(self, stage: Stage) -> dict[str, Any]:
        """The settings that a stage depends on, by the keys that dvc.yaml names."""
        held = read(self.workspace.root / self.path)
        return {key: value_at(held, key) for key in stage.params}

    def differences(self) -> list[str]:
        """Settings in which the copy differs from params.yaml by now: `pretrain.lr: 0.003, params.yaml has 0.001`."""
        ours, theirs = (
            load(path, self.dataset).model_dump(mode="json")
            for path in (self.workspace.root / self.path, self.workspace.root / "params.yaml")
        )
        return [
            f"{name}: {mine}, params.yaml has {its}"
            for (name, mine), (_, its) in zip(_flat(ours), _flat(theirs), strict=True)
            if mine != its
        ]


def take(workspace: Workspace, dataset: str, run: str, overrides: Sequence[str]) -> RunSettings:
    """The copy of a run, made by the first of its stages that asks.

    Args:
        workspace: the project.
        dataset: one of its datasets.
        run: its id, or that of the run which it repeats.
        overrides: `stage.key=value`, of all of the run's stages.

    Raises:
        SettingError: an override is wrong; nothing is written.
    """
    path = Path("data") / dataset / ".state" / "settings" / f"{run}.yaml"
    whole = workspace.root / path
    with versioning.exclusive(workspace.root, f"settings.{dataset}"):
        if not whole.is_file():
            if overrides:
                params.override(workspace, dataset, overrides)
            whole.parent.mkdir(parents=True, exist_ok=True)
            part = whole.with_suffix(".part")
            part.write_bytes((workspace.root / "params.yaml").read_bytes())
            os.replace(part, whole)
            for old in sorted(whole.parent.glob("*.yaml"), key=lambda one: one.stat().st_mtime)[:-KEPT]:
                old.unlink(missing_ok=True)
    return RunSettings(workspace, dataset, path)


def refuse_foreign(stage: Stage, settings: Sequence[str]) -> None:
    """That a stage is given settings of its own alone.

    Raises:
        SettingError: one is of another stage.
    """
    own = {key.split(".")[0] for key in stage.params} - {"per_dataset"}
    for text in settings:
        if text.partition("=")[0].split(".")[0].strip() not in own:
            raise SettingError(
                f"{text!r} is no setting of {stage.noun}",
                where=f"the run's config of {stage.dataset}/{stage.noun}",
                mend=f"its settings begin with: {', '.join(sorted(own))}",
            )


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        found += _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else [(f"{before}{name}", value)]
    return found
