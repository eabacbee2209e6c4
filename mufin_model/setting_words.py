"""What is wrong with a file of settings or a value in it, in our words."""

from __future__ import annotations

from typing import Any

import yaml

from mufin_model.errors import in_words


def yaml_words(error: OSError | yaml.YAMLError | UnicodeError) -> str:
    """Why a file of settings cannot be read, in our words."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"no YAML at line {mark.line + 1}, column {mark.column + 1}"
    return in_words(error) if isinstance(error, OSError | UnicodeError) else "no YAML"


_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text", "list": "a list"}
_KINDS |= {"dict": "a mapping", "model": "a mapping"}
_BOUNDS = {
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "one of {expected}",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of {max_length} or fewer",
    "string_pattern_mismatch": "like {pattern}",
    "finite_number": "a finite number",
}
"""What a value must be, by the kind of error."""


def value_words(error: Any) -> str:
    """What is wrong with a value, in our words."""
    kind = error["type"]
    if kind == "missing":
        return "is missing"
    if kind in _BOUNDS:
        return f"must be {_BOUNDS[kind].format(**error.get('ctx', {}))}"
    return f"must be {_KINDS.get(kind.split('_')[0], 'another value')}"
