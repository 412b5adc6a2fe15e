"""`tessera usage`."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from tessera.api.controller.v1.usage_pb2 import UsageRow
from tessera.cli import show
from tessera.cli.amounts import amount
from tessera.cli.connect import connect, options_of

KEYS = ("tenant", "queue", "owner", "job")
HOUR = 3600.0


def usage(  # noqa: PLR0917 - typer fills in options by name
    context: typer.Context,
    by: Annotated[
        str, typer.Option(metavar="KEYS", help="Of tenant, queue, owner and job, with commas.")
    ] = "owner",
    since: Annotated[
        str, typer.Option(metavar="DAY|Nd", help="From that day on, or of the last N days.")
    ] = "30d",
    until: Annotated[str, typer.Option(metavar="DAY", help="Until that day.")] = "",
    price: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=AMOUNT", help="Of an hour, as `H100=2.5` or `cpu=0.03`."),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="As a table for spreadsheets.")] = False,
) -> None:
    """Show what jobs have held, in hours of accelerators, processors and GiB, and what it costs.

    tessera usage --by queue,owner --since 7d --price H100=2.5 --csv
    """
    keys = [key for key in by.split(",") if key]
    if unknown := [key for key in keys if key not in KEYS]:
        raise typer.BadParameter(f"--by: `{unknown[0]}` is none of {', '.join(KEYS)}")
    like = "NAME=AMOUNT, as `H100=2.5` is"
    prices = dict(amount(text, "--price", like) for text in price or ())
    begin, end = _moment(since, "--since"), _moment(until, "--until") if until else None
    with connect(context) as client:
        found = client.scheduling.usage(keys, begin, end)
    if options_of(context).json:
        show.as_json(found)
        return
    columns = (*(key.upper() for key in keys), "TYPE", "HOURS", "CPU-HOURS", "GIB-HOURS")
    if prices:
        columns = (*columns, "COST")
    rows = [_row(item, keys, prices) for item in found]
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([[column.lower() for column in columns], *rows])
        return
    show.table(columns, rows, empty="nothing has run")


def _row(item: UsageRow, keys: Sequence[str], prices: Mapping[str, float]) -> list[str]:
    hours = item.accelerator_seconds / HOUR
    cpus, memory = item.cpu_seconds / HOUR, item.memory_gib_seconds / HOUR
    row = [getattr(item, key) for key in keys]
    row += [item.accelerator, f"{hours:.2f}", f"{cpus:.2f}", f"{memory:.2f}"]
    if prices:
        cost = hours * prices.get(item.accelerator, 0.0)
        cost += cpus * prices.get("cpu", 0.0) + memory * prices.get("memory", 0.0)
        row.append(f"{cost:.2f}")
    return row


def _moment(text: str, option: str) -> datetime:
    """`2026-11-28` in this machine's time, or so many days ago.

    Raises:
        BadParameter: it is neither.
    """
    if text.endswith("d") and text[:-1].isdecimal():
        return datetime.now(UTC) - timedelta(days=min(int(text[:-1]), 36500))
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise typer.BadParameter(
            f"{option}: `{text}` is no day, as `2026-11-28` or `7d` is"
        ) from None
