"""When an artefact is to be made anew because of what it is made from."""

from __future__ import annotations

import dagster as dg


def when_an_input_changed() -> dg.AutomationCondition:
    """Where an input's bytes changed, not where it was only made again, and its critical checks passed.

    Not after a run that was to make it and failed: that is told, and waits for a person or the next refresh. Else what
    comes after the failed stage would be made of the new input and of what that stage left before.
    """
    condition = dg.AutomationCondition
    changed = condition.data_version_changed() | condition.will_be_requested()
    return (
        condition.any_deps_match(changed).since_last_handled()
        & ~condition.any_deps_missing()
        & ~condition.any_deps_in_progress()
        & condition.all_deps_blocking_checks_passed()
        & ~condition.in_progress()
        & ~condition.execution_failed()
    ).with_label("an input changed")
