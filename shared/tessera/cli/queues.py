"""`tessera queues`, `queues put` and `queues delete`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from tessera.api.controller.v1.queue_pb2 import Queue
from tessera.cli import show
from tessera.cli.amounts import quotas, shown
from tessera.cli.connect import connect, options_of

queues = typer.Typer(add_completion=False, rich_markup_mode=None, invoke_without_command=True)

_NAME = typer.Argument(metavar="NAME", help="Of the queue.", show_default=False)


@queues.callback()
def list_queues(context: typer.Context) -> None:
    """List the queues, with what each has, and how it is used."""
    if context.invoked_subcommand is not None:
        return
    with connect(context) as client:
        known = client.scheduling.queues()
    if options_of(context).json:
        show.as_json(known)
        return
    _show(known)


@queues.command("put")
def put(  # noqa: PLR0917 - typer fills in options by name
    context: typer.Context,
    name: Annotated[str, _NAME],
    parent: Annotated[str, typer.Option(metavar="NAME", help="Queue that it hangs on.")] = "",
    quota: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=AMOUNT", help="Its own, as `cpu=64`, `memory=1TiB`, `H100=8`."),
    ] = None,
    borrow: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=AMOUNT", help="The most that it may use beyond its own."),
    ] = None,
    lend: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=AMOUNT", help="The most of its own that others may use."),
    ] = None,
    weight: Annotated[float, typer.Option(help="Its share beside its sisters.")] = 1.0,
    tenant: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Who may use it; none: all.")
    ] = None,
) -> None:
    """Add a queue, or change all of it. For operators.

    tessera queues put research --quota H100=16 --borrow H100=8 --weight 2
    """
    queue = Queue(
        name=name,
        parent=parent,
        nominal=quotas(quota, "--quota"),
        borrowing_limit=quotas(borrow, "--borrow"),
        lending_limit=quotas(lend, "--lend"),
        weight=weight,
        tenants=tenant or (),
    )
    with connect(context) as client:
        stored = client.scheduling.put_queue(queue)
    if options_of(context).json:
        show.as_json(stored)
        return
    _show([stored])


@queues.command("delete")
def delete(context: typer.Context, name: Annotated[str, _NAME]) -> None:
    """Forget a queue in which nothing waits or runs. For operators."""
    with connect(context) as client:
        client.scheduling.delete_queue(name)


def _show(listed: Iterable[Queue]) -> None:
    rows = [
        (
            queue.name,
            queue.parent,
            _used(queue),
            f"{queue.share:.0%}",
            str(queue.waiting),
            str(queue.running),
            ", ".join(queue.tenants) or "all",
        )
        for queue in listed
    ]
    columns = ("QUEUE", "PARENT", "USED OF QUOTA", "SHARE", "WAITING", "RUNNING", "TENANTS")
    show.table(columns, rows, empty="no queues")


def _used(queue: Queue) -> str:
    """What it uses of what is its own, for example `H100 4/8, cpu 16`."""
    names = sorted({*queue.nominal, *(name for name, amount in queue.used.items() if amount)})
    parts = []
    for name in names:
        own = f"/{shown(name, queue.nominal)}" if name in queue.nominal else ""
        parts.append(f"{name} {shown(name, queue.used)}{own}")
    return ", ".join(parts)
