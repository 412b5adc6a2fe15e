"""`tessera audit`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from tessera.api.controller.v1.access_pb2 import AuditEntry
from tessera.cli import show
from tessera.cli.connect import connect, options_of


def audit(
    context: typer.Context,
    tenant: Annotated[
        str,
        typer.Option(metavar="NAME", help="In whose; yours if none is named.", show_default=False),
    ] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = 50,
) -> None:
    """Show who did what, newest first. For admins."""
    with connect(context) as client:
        found = list(client.access.audit(tenant, limit=limit))
    if options_of(context).json:
        show.as_json(found)
        return
    show.table(
        ("TIME", "WHO", "ROLE", "WHAT", "TO", "OUTCOME"),
        [_row(entry) for entry in found],
        empty="nobody has done anything yet",
    )


def _row(entry: AuditEntry) -> tuple[str, ...]:
    when = datetime.fromtimestamp(entry.time.seconds, UTC).astimezone()
    return (
        when.strftime("%Y-%m-%d %H:%M:%S"),
        entry.subject,
        entry.role,
        entry.method,
        entry.resource,
        entry.outcome,
    )
