"""`tessera delete`."""

from __future__ import annotations

from typing import Annotated

import typer

from tessera.cli import show
from tessera.cli.confirm import confirm
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
    confirm(f"delete all versions of {set_}", yes=yes)
    with connect(context) as client:
        versions, size = client.delete_set(set_, force=force)
    if options_of(context).json:
        show.as_json({"set": set_, "versions": versions, "size": size})
        return
    show.line(f"{set_} is deleted: {versions} versions, {show.size(size)}")
