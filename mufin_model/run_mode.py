"""What a run does with what was learnt before: `retrain` learns it anew, `refresh` keeps it.

The mode belongs to a run, never to params.yaml. It reaches a stage's command in the environment variable MODE. A stage
that keeps something notes it in its artefact, so that anyone can tell a kept result from a trained one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mufin_model.artefacts import write_json
from mufin_model.config import KEEPS, Settings

MODE = "MUFIN_MODE"
RETRAIN, REFRESH = "retrain", "refresh"
AGAIN = "again"
"""As the artefact that is there was made: of a version that is made again."""
NOTE = "mode.json"
"""In an artefact that kept something: `{"mode": "refresh"}`."""


def applied(settings: Settings, verb: str, folder: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of one stage under the run's mode.

    Args:
        settings: as params.yaml has them.
        verb: of the stage.
        folder: the stage's artefact, which may not exist yet.
        environment: where MODE is.
    """
    mode = environment.get(MODE, "")
    if verb not in KEEPS or not (mode == REFRESH or (mode == AGAIN and kept(folder))):
        return settings
    section = getattr(settings, verb).model_copy(update={KEEPS[verb]: True})
    return settings.model_copy(update={verb: section})


def note(folder: Path) -> None:
    """Say in an artefact that it keeps what was learnt before."""
    write_json(folder / NOTE, {"mode": REFRESH})


def kept(folder: Path) -> bool:
    """Whether an artefact keeps what was learnt before."""
    return (folder / NOTE).is_file()
