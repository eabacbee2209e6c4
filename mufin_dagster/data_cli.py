"""`mufin data ...`: versions of the data (docs/versions.md)."""

from __future__ import annotations

from typing import Annotated

import typer

from mufin_model.artefacts import Workspace
from mufin_model.cli import guarded

app = typer.Typer(no_args_is_help=True, help="Versions of the data: commit, history, diff, restore, verify.")

Datasets = Annotated[list[str] | None, typer.Option("--dataset", "-d", help="A dataset; repeatable. All by default.")]
REV = "A commit, branch or tag."


@app.command()
@guarded
def commit(
    message: Annotated[str, typer.Option("--message", "-m", help="What changed.")], datasets: Datasets = None
) -> None:
    """Commit the pointers of the data as they are now: params.yaml, dvc.lock, catalog.dvc."""
    from mufin_dagster.data_versions import commit as commit_pointers

    made = commit_pointers(Workspace.find(), message, datasets or [])
    print(f"version {made[:10]}" if made else "nothing has changed since the last version")


@app.command()
@guarded
def history(datasets: Datasets = None) -> None:
    """The versions of each dataset, the newest first, and what they hold."""
    from mufin_dagster.data_show import show_history

    show_history(Workspace.find(), datasets or [])


@app.command()
@guarded
def diff(
    old: Annotated[str, typer.Argument(help=REV)],
    new: Annotated[str | None, typer.Argument(help=f"{REV} By default the data as they lie in the project.")] = None,
    datasets: Datasets = None,
) -> None:
    """Items, labels, links and images added, removed, changed; and how far the data have drifted."""
    from mufin_dagster.data_show import show_diff

    show_diff(Workspace.find(), old, new, datasets or [])


@app.command()
@guarded
def restore(rev: Annotated[str, typer.Argument(help=REV)]) -> None:
    """Put pointers and data as a version has them, verified first; `mufin data restore HEAD` goes forth again."""
    from mufin_dagster.data_restore import restore as restore_version

    changed = restore_version(Workspace.find(), rev)
    print(f"as in {rev}: {', '.join(changed) or 'nothing had to change'}")


@app.command()
@guarded
def verify(
    rev: Annotated[str | None, typer.Argument(help=f"{REV} By default the pointers in the project.")] = None,
    mend: Annotated[bool, typer.Option("--mend", help="Fetch damaged files anew from the remote.")] = False,
) -> None:
    """Hold every file of a version in DVC's cache against its checksum; fetch what is not there."""
    from mufin_dagster.data_objects import ensure
    from mufin_dagster.data_versions import resolve

    workspace = Workspace.find()
    found = ensure(workspace, resolve(workspace.root, rev) if rev else None, mend=mend)
    print(f"{len(found.files):,} files are sound")
