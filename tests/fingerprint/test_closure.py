"""The code of a stage, found in the source, against what a stage really imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mufin_model.artefacts import Workspace
from mufin_model.catalog import synthetic
from mufin_model.fingerprint.closure import closure, code_hash
from mufin_model.stages import LIBRARY, entries
from tests.conftest import SMALL

REPOSITORY = Path(__file__).parents[2]

SOURCE = '''
"""A module."""
from __future__ import annotations
import os

LIMIT: int = -3
"""A limit."""

class A(dict):
    """A class."""
    def f(self, x, /, y=1, *rest, key, other=None, **more) -> str | None:
        """A method."""
        match x:
            case {"a": None, **others} if y:
                return f"{x!r:>{y}}{others=}" f"{y}" + u"ü"
            case _:
                pass
        return [*rest, {**more, "b": b"2"}, (z := lambda: (yield)), 1e-3, 2j, ...]

    async def g(self):
        async with self as one, self.two:
            return [i async for i in one if await i]
'''


def test_a_hash_is_the_same_under_every_python():
    assert code_hash(SOURCE) == "027f6f63d581"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""', "# nothing"),
        ('"""A limit."""', ""),
        ('"""A method."""', '"""Another."""  # and a comment'),
        ("y=1", "y = 1"),
        ("case _:\n                pass", "case _:\n\n                pass"),
    ],
)
def test_words_and_layout_are_no_code(old, new):
    assert old in SOURCE
    assert code_hash(SOURCE.replace(old, new)) == code_hash(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-3", "-4"),
        ("key, other=None", "key=None, other"),
        ("**more) ->", "**less) ->"),
        ("x, /, y", "x, y"),
        ("!r", "!s"),
        ('"b"', '"c"'),
        ("**more, ", "more: None, "),
        ("async for", "for"),
        ("int = ", "float = "),
    ],
)
def test_all_else_is(old, new):
    assert old in SOURCE
    assert code_hash(SOURCE.replace(old, new, 1)) != code_hash(SOURCE)


FILES = {
    "__init__.py": "",
    "stage.py": "def run():\n    from mufin_model.deep import lazy\n",
    "deep/__init__.py": "from .relative import x",
    "deep/lazy.py": "from .. import above\nimport torch.nn as nn\nfrom . import beside as b",
    "deep/relative.py": "x = 1",
    "deep/beside.py": "import importlib\nN = ['one']\ndef f(n): importlib.import_module(f'mufin_model.some.{n}')",
    "above.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from mufin_model import unused\n"
    "else:\n    import mufin_model.alternative\nTEMPLATE = 'page.j2'",
    "page.j2": "{{ x }}",
    "alternative.py": "import importlib\ndef f(n): importlib.import_module(f'{__name__}.{n}')",
    "unused.py": "",
    "some/__init__.py": "",
    "some/one.py": "import mufin_model.all as a",
    "some/two.py": "",
    "all/__init__.py": "import importlib\ndef f(n): return importlib.import_module(f'{__name__}.{n}')",
    "all/a.py": "",
    "all/b.py": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "mufin_model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_imports_of_every_kind_are_followed(folder: Path):
    found = closure(("mufin_model.stage",), folder)
    expected = {f"mufin_model/{name}" for name in FILES} - {"mufin_model/unused.py", "mufin_model/some/two.py"}
    assert set(found.modules) == expected
    assert "torch" in found.imports


@pytest.mark.parametrize("name", ["deep/relative.py", "all/b.py", "page.j2", "all/new.py"])
def test_a_change_at_any_depth_counts(folder: Path, name: str):
    before = closure(("mufin_model.stage",), folder)
    (folder / "mufin_model" / name).write_text("y = 3")
    assert closure(("mufin_model.stage",), folder) != before


def test_a_module_under_edit_that_is_no_python_counts_by_its_bytes(folder: Path):
    before = closure(("mufin_model.stage",), folder)
    (folder / "mufin_model/deep/relative.py").write_text("x = = 1")
    assert closure(("mufin_model.stage",), folder) != before


RUN = """
import importlib, sys
from pathlib import Path
from mufin_model import config
from mufin_model.artefacts import Workspace
verb, root, params, *overrides = sys.argv[1:]
workspace = Workspace(Path(root))
settings = config.load(Path(params), "demo", overrides)
if verb == "release":
    from mufin_dagster.quality.rules import nouns
    from mufin_dagster.quality.validator import validate
    for noun in nouns():
        validate(workspace, "demo", noun)
importlib.import_module(sys.modules["mufin_model"].__name__ + sys.stdin.read()).run(workspace, "demo", settings)
files = [getattr(module, "__file__", None) for name, module in sys.modules.items() if name.startswith("mufin_")]
print("FILES", *(file for file in files if file))
print("LIBRARIES", *(name for name in ("torch", "transformers", "timm", "faiss") if name in sys.modules))
"""


def test_what_a_stage_imports_while_it_runs_is_in_its_code(tmp_path: Path):
    workspace = Workspace(tmp_path)
    synthetic.write(workspace.catalog("demo"), items=100, seed=3)
    few = ("pretrain.epochs=1", "finetune.epochs=1", "finetune.reranker_epochs=2")
    # the rules read params.yaml of the folder that they judge
    (tmp_path / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    for verb, (module, _) in LIBRARY.items():
        done = subprocess.run(
            [sys.executable, "-c", RUN, verb, str(tmp_path), str(REPOSITORY / "params.yaml"), *SMALL, *few],
            input=module.removeprefix("mufin_model"),
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONSAFEPATH": "1", "MUFIN_ROOT": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        told = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()[-2:]}
        imported = {Path(file).resolve().relative_to(REPOSITORY).as_posix() for file in told["FILES"]}
        found = closure(entries(verb), REPOSITORY)
        assert len(imported) > 5
        assert imported <= set(found.modules), verb
        assert set(told["LIBRARIES"]) <= found.imports, verb


def test_a_stage_depends_on_no_stage_that_it_does_not_use():
    ingest = closure(entries("ingest"), REPOSITORY).modules
    assert not [name for name in ingest if name.startswith(("mufin_model/network", "mufin_model/training"))]
    mine = closure(entries("mine"), REPOSITORY).modules
    assert not [
        name for name in mine if name.startswith(("mufin_model/losses", "mufin_model/encoders", "mufin_dagster"))
    ]
    assert "mufin_model/evaluation/report.html.j2" in closure(entries("evaluate"), REPOSITORY).modules
    assert "mufin_dagster/quality/suites/predictions.py" in closure(entries("release"), REPOSITORY).modules
