"""The stage verbs: all that a GPU worker needs, without the orchestrator installed.

python -m mufin_model.cli pretrain --dataset demo -S pretrain.epochs=3
"""

from __future__ import annotations

import errno
import functools
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from mufin_model.artefacts import NOUNS, Workspace, full
from mufin_model.errors import AccessError, DiskError, MufinError, of_system
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

HINTS: dict[int, str] = {
    errno.EACCES: "give this user the right to read and write it: ls -l shows whose it is",
    errno.EPERM: "give this user the right to read and write it: ls -l shows whose it is",
    errno.EROFS: "work in a folder on a disk that can be written to",
    errno.ENAMETOOLONG: "give it a shorter name, or move the project to a shorter path",
    errno.ENOENT: "put it back, or run inside the project",
    errno.EMFILE: "raise the limit of open files: ulimit -n 4096",
    errno.EADDRINUSE: "choose another port: --port",
}
"""What to do where the system refuses something, by the error's number."""

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


def refused_by_system(error: OSError) -> MufinError:
    """What the operating system refused, as an error that says what to do."""
    where = " and ".join(str(name) for name in (error.filename, error.filename2) if name)
    if full(error):
        hint = "free space, or raise the quota, and run the same command again"
        return DiskError(of_system(error), where=where, mend=hint)
    return AccessError(
        of_system(error), where=where, mend=HINTS.get(error.errno or 0, "look at this path, and run again")
    )


def guarded(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command whose user's mistakes end in a message and exit code 2, never in a traceback."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except MufinError as error:
            mend(error)
        except OSError as error:
            if not error.errno or isinstance(error, BrokenPipeError):
                raise
            mend(refused_by_system(error))

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


@app.command("fetch-images")
@guarded
def fetch_images(
    folder: Annotated[Path, typer.Argument(help="A catalogue whose image_paths are URLs; left as it is.")],
    new: Annotated[Path, typer.Argument(help="The folder to write it to, with its pictures.")],
    megabytes: Annotated[float, typer.Option(help="Of one picture at most.")] = 20.0,
    total: Annotated[float, typer.Option(help="Gigabytes of all at most.")] = 50.0,
    seconds: Annotated[float, typer.Option(help="Without a byte, before a picture is given up.")] = 20.0,
    at_once: Annotated[int, typer.Option(min=1, max=64, help="Connections.")] = 8,
) -> None:
    """Download the pictures of a catalogue whose image paths are URLs."""
    from mufin_model.catalog.fetch_images import Limits
    from mufin_model.catalog.fetch_images import fetch_images as fetch

    fetch(folder, new, Limits(megabytes, total, seconds, at_once))


for _command in (commands.releases, commands.serve):
    app.command(rich_help_panel=RELEASED)(guarded(_command))

if __name__ == "__main__":
    app()
