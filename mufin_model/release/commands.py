"""`mufin releases` and `mufin serve`: what needs neither the orchestrator nor, until it runs, the model's libraries."""

from __future__ import annotations

from typing import Annotated

import typer

from mufin_model.artefacts import Workspace

Datasets = Annotated[list[str] | None, typer.Option("--dataset", "-d", help="A dataset; repeatable. All by default.")]


def releases(
    datasets: Datasets = None,
    as_json: Annotated[bool, typer.Option("--json", help="All that is recorded, as JSON.")] = False,
) -> None:
    """What was promoted, refused and rolled back, and why; the last decision first."""
    from mufin_model.release import listing

    found = listing.releases(Workspace.find(), datasets or [])
    if as_json:
        print(listing.as_json(found))
    else:
        listing.show(found)


def serve(
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="A name under `datasets` in params.yaml.")],
    port: Annotated[int, typer.Option(help="To listen on.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on; it asks no password.")] = "127.0.0.1",
) -> None:
    """Answer over HTTP with the current release, following promotions and rollbacks, until Ctrl-C."""
    from mufin_model import config
    from mufin_model.release import server
    from mufin_model.release.shelf import Shelf

    workspace = Workspace.find()
    config.load(workspace.params, dataset)
    server.serve(Shelf(workspace, dataset), host, port)
