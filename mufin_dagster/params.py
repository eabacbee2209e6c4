"""params.yaml written with its comments kept: overrides of one dataset, and new datasets."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mufin_dagster.versioning import exclusive
from mufin_model.artefacts import Workspace, write_text
from mufin_model.config import KEEPS, STAGES, load, parse_override
from mufin_model.errors import SettingError


def override(workspace: Workspace, dataset: str, overrides: Sequence[str]) -> bool:
    """Write overrides into the dataset's own section, as `dvc exp run -S` would; the run then is what DVC records.

    Args:
        workspace: the project.
        dataset: one of params.yaml's `datasets`.
        overrides: strings `stage.key=value`.

    Returns:
        Whether anything changed.

    Raises:
        SettingError: a key is unknown or a value out of range; nothing is written.
        DatasetError: the dataset is not registered.
    """
    wanted = load(workspace.params, dataset, overrides)
    if wanted == load(workspace.params, dataset):
        return False
    with edit(workspace.params) as document:
        for keys, value in _expanded(document, overrides):
            own = section(section(document, "per_dataset"), dataset)
            if keys[0] not in STAGES:
                own[keys[0]] = value
                continue
            if KEEPS.get(keys[0]) == keys[-1]:
                raise SettingError(
                    f"{'.'.join(keys)} belongs to a run, not to the settings", mend=f"mufin refresh -d {dataset}"
                )
            target = section(own, keys[0])
            target.update(value if len(keys) == 1 else {".".join(keys[1:]): _flow(value)})
    return True


def _expanded(document: Mapping[str, Any], overrides: Sequence[str]) -> Iterator[tuple[list[str], Any]]:
    """Key and value of each override; a preset as all the settings under its name."""
    for text in overrides:
        keys, value = parse_override(text)
        if keys != ["preset"]:
            yield keys, value
            continue
        for stage, values in (document["presets"][value] or {}).items():
            yield from (([stage, name], one) for name, one in (values or {}).items())


def register(workspace: Workspace, dataset: str) -> None:
    """Append a dataset, with an empty section for each stage."""
    with edit(workspace.params) as document:
        document["datasets"].append(dataset)
        section(document, "per_dataset")[dataset] = {"seed": None, **{stage: _flow({}) for stage in STAGES}}


@contextmanager
def edit(path: Path) -> Iterator[Any]:
    """The YAML document, to change in place; written back by one rename. One writer at a time."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(type(None), _null)
    with exclusive(path.parent, path.name):
        document = yaml.load(path.read_text())
        yield document
        text = io.StringIO()
        yaml.dump(document, text)
        write_text(path, text.getvalue())


def _null(representer: Any, _: None) -> Any:
    """`null` and not an empty place: so the project's own file has it."""
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def section(parent: MutableMapping[str, Any], key: str) -> MutableMapping[str, Any]:
    """A mapping within a mapping, made where it is absent or empty."""
    if not parent.get(key):
        parent[key] = _flow({})
    found: MutableMapping[str, Any] = parent[key]
    return found


def _flow(value: Any) -> Any:
    """A list or mapping to be written in one line."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if not isinstance(value, list | dict):
        return value
    inline = CommentedSeq(value) if isinstance(value, list) else CommentedMap(value)
    inline.fa.set_flow_style()
    return inline
