"""Where steps run, and what they need there.

`MUFIN_EXECUTOR` chooses the place; dvc.yaml's `meta.dagster` says what a stage needs, and `op_tags` says it in the
words of the executor. Resources belong on the ops: tags of a job are lost on backfills.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from mufin_model.errors import SettingError


@dataclass(frozen=True)
class Need:
    """What one step takes: CPU cores, memory in GB, GPUs."""

    cpu: int = 1
    memory_gb: float = 1.0
    gpu: int = 0

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> Need:
        """From a stage's `meta.dagster`."""
        return cls(**{name: meta[name] for name in cls.__dataclass_fields__ if name in meta})


def op_tags(need: Need) -> dict[str, str]:
    """A step's need, as tags of its op."""
    return {"mufin/cpu": str(need.cpu), "mufin/memory_gb": str(need.memory_gb), "mufin/gpu": str(need.gpu)}


def executor(with_checks: bool = True) -> dg.ExecutorDefinition:
    """The executor named by MUFIN_EXECUTOR.

    Args:
        with_checks: whether any step will need Great Expectations, whose import takes seconds.

    Raises:
        SettingError: there is none of that name.
    """
    name = os.environ.get("MUFIN_EXECUTOR", "local")
    if name not in EXECUTORS:
        raise SettingError(
            f"no executor named {name!r}", where="MUFIN_EXECUTOR", mend=f"one of: {', '.join(EXECUTORS)}"
        )
    return EXECUTORS[name](with_checks)


def _local(with_checks: bool) -> dg.ExecutorDefinition:
    """Processes of this machine. Forked from one that has imported what steps share: a step starts in a second."""
    preload = ["mufin_dagster.definitions", "dvc.repo", *(["great_expectations.expectations"] if with_checks else [])]
    configured = dg.multiprocess_executor.configured(
        {
            "max_concurrent": int(os.environ.get("MUFIN_CONCURRENCY", "2")),
            "start_method": {"forkserver": {"preload_modules": preload}},
        },
        name="local",
    )
    assert isinstance(configured, dg.ExecutorDefinition)
    return configured


EXECUTORS = {"local": _local}
