"""Who did what to what: rows that are added, and never changed."""

from __future__ import annotations

import sqlalchemy as sa

from tessera.controller.store import rows
from tessera.controller.store.schema import audit
from tessera.rpc.audit import AuditEntry


def append(connection: sa.Connection, entry: AuditEntry) -> None:
    """Add an entry."""
    connection.execute(audit.insert().values(**rows.columns(entry)))


def page(
    connection: sa.Connection, *, tenant: str, before: int, size: int
) -> list[tuple[int, AuditEntry]]:
    """At most `size` entries of a tenant with their numbers, newest first, before one; 0: all."""
    query = sa.select(audit).where(audit.c.tenant == tenant)
    if before:
        query = query.where(audit.c.id < before)
    found = connection.execute(query.order_by(audit.c.id.desc()).limit(size))
    return [(row.id, rows.record(AuditEntry, row)) for row in found]
