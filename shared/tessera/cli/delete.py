"""`tessera delete`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tessera import errors
from tessera.cli import show
from tessera.cli.connect import connect, options_of


def delete(
    context: typer.Context,
    set_: Annotated[str, typer.Argument(metavar="SET", help="The set.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also if it is served, or a job writes it.")
    ] = False,
) -> None:
    """Drop all versions of a set, and the set. There is no way back.

    A set that a replica serves or a job writes is refused: end those first. If a set of that name
    is made again, its version numbers go on.
    """
    if not yes:
        if not sys.stdin.isatty():
            raise errors.InvalidArgumentError(
                f"this would delete all versions of {set_} for good: add --yes to say that you mean"
                " it",
                reason="NOT_CONFIRMED",
            )
        typer.confirm(f"Delete all versions of {set_} for good?", abort=True, err=True)
    with connect(context) as client:
        versions, size = client.delete_set(set_, force=force)
    if options_of(context).json:
        show.as_json({"set": set_, "versions": versions, "size": size})
        return
    show.line(f"{set_} is deleted: {versions} versions, {show.size(size)}")
