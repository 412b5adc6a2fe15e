"""`tessera nodes`, `nodes cordon`, `nodes drain` and `nodes uncordon`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from tessera.api.controller.v1.node_pb2 import Node, NodeState
from tessera.cli import show
from tessera.cli.amounts import shown
from tessera.cli.connect import connect, options_of

nodes = typer.Typer(add_completion=False, rich_markup_mode=None, invoke_without_command=True)

_ID = typer.Argument(metavar="NODE", help="Its id; the beginning will do.", show_default=False)
SHOWN = 12
"""Characters of an id that are shown."""


@nodes.callback()
def list_nodes(
    context: typer.Context,
    pool: Annotated[str, typer.Option(metavar="NAME", help="Of one pool alone.")] = "",
) -> None:
    """List the nodes of all pools, with what is free on each."""
    if context.invoked_subcommand is not None:
        return
    with connect(context) as client:
        known = list(client.scheduling.nodes(pool))
    if options_of(context).json:
        show.as_json(known)
        return
    _show(known)


@nodes.command("cordon")
def cordon(context: typer.Context, node: Annotated[str, _ID]) -> None:
    """Send no new work to a node; what runs there goes on. For operators."""
    _update(context, node, "CORDONED")


@nodes.command("drain")
def drain(context: typer.Context, node: Annotated[str, _ID]) -> None:
    """Send no new work to a node, and have the jobs there go elsewhere. For operators."""
    _update(context, node, "DRAINING")


@nodes.command("uncordon")
def uncordon(context: typer.Context, node: Annotated[str, _ID]) -> None:
    """Take a node back, and forget what has failed there. For operators."""
    _update(context, node, "READY")


def _update(context: typer.Context, node: str, state: str) -> None:
    with connect(context) as client:
        known = [item.id for item in client.scheduling.nodes() if item.id.startswith(node)]
        if len(known) > 1:
            raise typer.BadParameter(f"NODE: {len(known)} nodes begin with `{node}`")
        updated = client.scheduling.update_node(known[0] if known else node, state)
    if options_of(context).json:
        show.as_json(updated)
        return
    _show([updated])


def _show(listed: Iterable[Node]) -> None:
    rows = [
        (
            node.id[:SHOWN],
            node.pool,
            show.enum(NodeState.Name(node.state), "NODE_STATE_"),
            _free(node),
            ", ".join(node.work),
        )
        for node in listed
    ]
    show.table(("NODE", "POOL", "STATE", "FREE", "WORK"), rows, empty="no nodes")


def _free(node: Node) -> str:
    """What is free of what there is, for example `H100 4/8, cpu 96/128`."""
    return ", ".join(
        f"{name} {shown(name, node.free)}/{shown(name, node.capacity)}"
        for name in sorted(node.capacity)
    )
