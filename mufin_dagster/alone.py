"""An executor whose runs are the only ones of their datasets: before the first step they claim them (claims.py)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._utils.interrupts import pop_captured_interrupt

from mufin_dagster import claims, run_tags
from mufin_dagster.run_tags import DATASET, JOB
from mufin_model.artefacts import Workspace

if TYPE_CHECKING:
    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan
    from dagster._core.execution.retries import RetryMode


class Alone(dg.Executor):
    """Waits, without taking a place in a pool, until no other run is of the run's datasets."""

    def __init__(self, inner: dg.Executor) -> None:
        self._inner = inner

    @property
    def retries(self) -> RetryMode:
        return self._inner.retries

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        run, instance = plan_context.dagster_run, plan_context.instance

        def waits(told: str) -> None:
            if told:
                instance.report_engine_event(told, run)
            if pop_captured_interrupt():
                raise DagsterExecutionInterruptedError()

        # one that takes a catalogue in has no assets, and one tag; a past version made again has other tags
        own = {*run_tags.of_run(instance, run), *([run.tags[DATASET]] if DATASET in run.tags else [])}
        with claims.claimed(Workspace.find(), own, run.run_id, run.tags.get(JOB, run.job_name), waits):
            yield from self._inner.execute(plan_context, execution_plan)
