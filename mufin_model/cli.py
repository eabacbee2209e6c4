"""The stage verbs: all that a GPU worker needs, without the orchestrator installed.

python -m mufin_model.cli pretrain --dataset demo -S pretrain.epochs=3
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Annotated, Any, NoReturn

import typer

from mufin_model.artefacts import NOUNS, Workspace
from mufin_model.errors import MufinError
from mufin_model.progress import main_rank
from mufin_model.release import commands
from mufin_model.stages import LIBRARY
from mufin_model.training import launch
from mufin_model.usage import measured

app = typer.Typer(
    name="mufin",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Multi-modal extreme classification: each stage is one verb.",
)

RELEASED = "What was released"
"""Heading of the commands about releases."""

ON_ALL_RANKS = ("pretrain", "finetune")
"""Verbs that share their work where torchrun or accelerate starts several processes; others run on the first alone."""

MAY_PASS = 75
"""Exit code of a failure that may be gone when the same is tried again: EX_TEMPFAIL of sysexits.h."""

Dataset = Annotated[str, typer.Option("--dataset", "-d", help="A name under `datasets` in params.yaml.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", "-S", help="Override a setting, as in pretrain.lr=3e-4. Repeatable.")
]


def mend(error: MufinError) -> NoReturn:
    """Show a user's mistake and leave with exit code 2, or 75 where the same may succeed in a moment."""
    print(error, file=sys.stderr, flush=True)
    raise typer.Exit(MAY_PASS if error.may_pass else 2)


def guarded(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command whose user's mistakes end in a message and exit code 2, never in a traceback."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except MufinError as error:
            mend(error)

    return run


def run_stage(verb: str, dataset: str, overrides: list[str] | None = None) -> None:
    """Load the settings and run one stage.

    Raises:
        LibraryError: another library runs than the one that is recorded, or it changed meanwhile.
    """
    from mufin_model import config, run_mode
    from mufin_model.fingerprint import record

    if verb in ON_ALL_RANKS and launch.several():
        told = [part for override in overrides or [] for part in ("-S", override)]
        raise typer.Exit(launch.start([verb, "--dataset", dataset, *told]))
    if verb not in ON_ALL_RANKS and not (main_rank() and launch.first_node()):
        return
    workspace = Workspace.find()
    settings = config.load(workspace.params, dataset, overrides or [])
    settings = run_mode.applied(settings, verb, workspace.path(dataset, NOUNS[verb]))
    asked = record.begin(workspace.root, dataset, verb) if main_rank() else {}
    os.chdir(workspace.root)  # paths in settings are relative to it, wherever one types the command
    # SIGTERM unwinds like Ctrl-C, so that temporary folders go and the earlier artefact stays.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with workspace.alone(dataset, NOUNS[verb]) if main_rank() else nullcontext():
        began = time.monotonic()
        with measured() as figures:
            importlib.import_module(LIBRARY[verb][0]).run(workspace, dataset, settings)
    if main_rank():
        workspace.took(dataset, NOUNS[verb], time.monotonic() - began)
        workspace.used(dataset, NOUNS[verb], figures)
        record.end(workspace.root, dataset, verb, asked)


def check_catalog(dataset: str, overrides: list[str] | None = None) -> None:
    """Load the settings and look at all that `ingest` reads."""
    from mufin_model import config
    from mufin_model.catalog import ingest

    workspace = Workspace.find()
    ingest.check(workspace, dataset, config.load(workspace.params, dataset, overrides or []))


def _add(verb: str, text: str) -> None:
    @app.command(verb, help=f"{text} Leaves {NOUNS[verb]}.")
    @guarded
    def stage(dataset: Dataset, overrides: Overrides = None) -> None:
        run_stage(verb, dataset, overrides)


def _add_ingest(verb: str, text: str) -> None:
    @app.command(verb, help=f"{text} Leaves {NOUNS[verb]}.")
    @guarded
    def stage(
        dataset: Dataset,
        overrides: Overrides = None,
        check: Annotated[
            bool, typer.Option("--check", help="Only look, at every image too, and tell all that is wrong at once.")
        ] = False,
    ) -> None:
        if check:
            check_catalog(dataset, overrides)
        else:
            run_stage(verb, dataset, overrides)


for _verb, (_, _text) in LIBRARY.items():
    (_add_ingest if _verb == "ingest" else _add)(_verb, _text)


@app.command(rich_help_panel="The project")
@guarded
def fingerprint() -> None:
    """Note code, library versions and weights of each stage where DVC reads them; its pipeline begins with this."""
    from mufin_model.fingerprint import record

    root = Workspace.find().root
    record.check(root)
    record.refresh(root)


for _command in (commands.releases, commands.serve):
    app.command(rich_help_panel=RELEASED)(guarded(_command))

if __name__ == "__main__":
    app()
