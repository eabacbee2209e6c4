"""Expectations that Great Expectations lacks, one file each. Importing this package imports none of them."""

from __future__ import annotations

import importlib
from typing import Any

OWN: dict[str, str] = {
    "ExpectTestTextsToBeNew": "near_texts",
    "ExpectTestPicturesToBeNew": "near_pictures",
    "ExpectColumnHeadShareToBeBelow": "head_share",
    "ExpectColumnPopulationToBeStable": "population",
}
"""Class to the module of this package that holds it."""


def find(name: str) -> Any:
    """The class of an expectation: one of ours, else one of Great Expectations'.

    Raises:
        AttributeError: there is none of that name.
    """
    if name in OWN:
        return getattr(importlib.import_module(f"{__name__}.{OWN[name]}"), name)
    from great_expectations import expectations

    return getattr(expectations, name)
