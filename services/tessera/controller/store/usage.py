"""How much of what has a quota each tenant has."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from tessera.controller.policy.records import Usage
from tessera.controller.store.schema import UNFINISHED, blobs, deployments, jobs


def usage(connection: sa.Connection, tenant: str | None) -> dict[str, Usage]:
    """By tenant; None: every one that has anything."""
    found = (
        _by_tenant(connection, jobs.c.tenant, sa.func.count(), tenant, UNFINISHED),
        _by_tenant(connection, deployments.c.tenant, sa.func.count(), tenant),
        _by_tenant(connection, blobs.c.tenant, sa.func.sum(blobs.c.size), tenant),
    )
    return {
        name: Usage(
            jobs=found[0].get(name, 0),
            deployments=found[1].get(name, 0),
            blob_bytes=found[2].get(name, 0),
        )
        for name in {*found[0], *found[1], *found[2]}
    }


def _by_tenant(
    connection: sa.Connection,
    column: sa.Column[Any],
    what: sa.ColumnElement[Any],
    tenant: str | None,
    *where: sa.ColumnElement[bool] | sa.TextClause,
) -> dict[str, int]:
    query = sa.select(column, what).where(*where).group_by(column)
    if tenant is not None:
        query = query.where(column == tenant)
    return {row[0]: int(row[1]) for row in connection.execute(query)}
