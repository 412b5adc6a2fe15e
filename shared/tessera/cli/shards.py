"""`tessera shards`, `shards drain` and `shards remove`."""

from __future__ import annotations

from typing import Annotated

import typer

from tessera.cli import show
from tessera.cli.connect import connect, options_of
from tessera.weights.manifest import ShardStatus

shards = typer.Typer(add_completion=False, rich_markup_mode=None, invoke_without_command=True)

Name = Annotated[
    str, typer.Argument(metavar="SHARD", help="As `tessera shards` shows it.", show_default=False)
]


@shards.callback()
def list_shards(context: typer.Context) -> None:
    """List the shards that hold parameter sets, and what each holds.

    For operators. NEEDED is how many of its pieces of versions lie, undamaged, on no shard that
    stays: a shard that is drained may be removed when it is 0.
    """
    if context.invoked_subcommand is not None:
        return
    with connect(context) as client:
        known = client.shards()
    if options_of(context).json:
        show.as_json(known)
        return
    rows = [
        (
            shard.name,
            _state(shard),
            str(shard.pieces),
            str(shard.needed_pieces),
            show.size(shard.size),
            shard.data_address,
        )
        for shard in known
    ]
    show.table(("SHARD", "STATE", "PIECES", "NEEDED", "SIZE", "ADDRESS"), rows, empty="no shards")


@shards.command("drain")
def drain(
    context: typer.Context,
    name: Name,
    undo: Annotated[bool, typer.Option("--undo", help="Let it take part again.")] = False,
) -> None:
    """Let a shard take nothing new, and have what it holds copied to others. For operators.

    Readers and writers go on meanwhile. `tessera shards` shows when nothing needs it any more.
    """
    with connect(context) as client:
        client.drain_shard(name, undo=undo)
    if undo:
        show.line(f"{name} takes part again")
    else:
        show.line(f"{name} is draining: tessera shards shows how much it is still needed for")


@shards.command("remove")
def remove(context: typer.Context, name: Name) -> None:
    """Forget a shard that is drained; end its process before, or it joins again. For operators."""
    with connect(context) as client:
        client.remove_shard(name)
    show.line(f"{name} is removed")


def _state(shard: ShardStatus) -> str:
    if not shard.available:
        return "away, draining" if shard.draining else "away"
    if not shard.draining:
        return "serving"
    return "draining" if shard.needed_pieces else "drained"
