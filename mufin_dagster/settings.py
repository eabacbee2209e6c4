"""Settings of what runs by itself: the section `automation` of params.yaml. Secrets are in the environment alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mufin_model.config import read
from mufin_model.errors import SettingError

Section = TypeVar("Section", bound=BaseModel)
Seconds = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Automation(BaseModel):
    """When runs start, what is tried again, who is told; params.yaml says what each setting means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = False
    retrain: str = "0 3 * * *"
    timezone: str = "UTC"
    new_data: Literal["refresh", "retrain"] = "refresh"
    drop_folder: str = ""
    drop_quiet: Seconds = 120
    commit: bool = False
    fresh_hours: Annotated[float, Field(gt=0)] = 30.0
    retries: Annotated[int, Field(ge=0)] = 2
    retry_delay: Seconds = 30
    notify: list[Literal["log", "webhook", "email"]] = ["log"]
    mail_host: str = "localhost"
    mail_port: Annotated[int, Field(gt=0, lt=65536)] = 25
    mail_from: str = "mufin@localhost"
    mail_to: list[str] = []
    weak_tail: Share = 0.3
    slow_inference: Annotated[float, Field(gt=0)] = 100.0
    disagreement: Share = 0.005


def automation(params: Path) -> Automation:
    """The section `automation`, or its defaults where there is none.

    Raises:
        SettingError: a key is unknown, a value out of range, or there is no such time.
    """
    found = section(params, "automation", Automation)
    _check_times(found, params)
    return found


def section(params: Path, name: str, model: type[Section]) -> Section:
    """A section of params.yaml that no stage reads, or its defaults where there is none.

    Raises:
        SettingError: a key is unknown or a value out of range.
    """
    try:
        return model.model_validate(read(params).get(name) or {})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingError(
            f"{name}.{key}: {first['msg']}",
            where=f"{params}, key {name}",
            rows=[f"got {first['input']!r}"],
            mend=f"its settings: {', '.join(model.model_fields)}",
        ) from error


def _check_times(found: Automation, params: Path) -> None:
    from zoneinfo import available_timezones

    from dagster._utils.schedules import is_valid_cron_schedule

    if found.timezone not in available_timezones():
        raise SettingError(
            f"{found.timezone!r} is no time zone",
            where=f"{params}, key automation.timezone",
            mend='a name as in "Europe/Berlin"',
        )
    if not is_valid_cron_schedule(found.retrain):
        raise SettingError(
            f"{found.retrain!r} is no cron expression",
            where=f"{params}, key automation.retrain",
            mend='minute hour day month weekday, as in "0 3 * * *"',
        )
