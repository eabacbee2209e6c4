"""The sensor that tells of runs that failed."""

from __future__ import annotations

import dagster as dg

from mufin_dagster import notify, run_tags
from mufin_dagster.run_tags import JOB
from mufin_dagster.settings import Automation

STEPS = 5
"""Failed steps told in one message."""


def sensor(settings: Automation) -> dg.SensorDefinition:
    """One message for each run that failed, of whatever job. On from the start: it starts nothing."""

    @dg.run_failure_sensor(
        name="failures",
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Tells of failed runs by: {', '.join(settings.notify)}.",
    )
    def told(context: dg.RunFailureSensorContext) -> None:
        troubles = notify.send(settings, message(context))
        for trouble in troubles:
            context.log.error(f"not told, {trouble}")

    return told


def message(context: dg.RunFailureSensorContext) -> notify.Message:
    """What failed and why, with the run's tags that say what it was of."""
    run = context.dagster_run
    lines = []
    for event in context.get_step_failure_events()[:STEPS]:
        data = event.step_failure_data
        user = data.user_failure_data
        reason = user.description if user and user.description else data.error.message if data.error else ""
        if reason and "Dependencies for step" not in reason:
            lines.append(f"{event.step_key}: {reason.strip()}")
    facts = {"run": run.run_id, "job": run.tags.get(JOB, run.job_name)}
    facts |= {name: value for name, value in sorted(run.tags.items()) if name.startswith("mufin/") and name != JOB}
    what = ", ".join(run_tags.datasets(run.tags)) or "several datasets"
    title = f"mufin: {facts['job']} of {what} failed (run {run.run_id[:8]})"
    return notify.Message(title, "\n\n".join(lines) or context.failure_event.message or "no step ran", facts)
