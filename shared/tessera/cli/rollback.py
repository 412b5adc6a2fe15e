"""`tessera rollback`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from tessera.cli import show
from tessera.cli.connect import connect, options_of


def rollback(
    context: typer.Context,
    version: Annotated[
        str,
        typer.Argument(metavar="SET@VERSION", help="What readers are to get.", show_default=False),
    ],
) -> None:
    """Let readers of a set get an earlier version again, or a later one.

    Nothing is dropped: deployments that follow the set switch to it without losing a request, and
    `tessera versions SET --history` tells who moved what. The next commit moves on from there, so
    cancel a job that goes on writing what you do not want.

    tessera rollback gpt@3
    """
    with connect(context) as client:
        move = client.rollback(version)
    if options_of(context).json:
        show.as_json(dataclasses.asdict(move))
        return
    name = version.partition("@")[0]
    show.line(f"{name} is at version {move.version} (move {move.sequence}, by {move.mover})")
