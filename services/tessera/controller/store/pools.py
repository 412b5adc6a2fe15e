"""Registered pools in the store."""

from __future__ import annotations

import sqlalchemy as sa

from tessera.controller.policy.records import Pool
from tessera.controller.store import rows
from tessera.controller.store.schema import pools


def put(connection: sa.Connection, pool: Pool, *, tenant: str, owner: str) -> None:
    """Add a pool, or change where it is; its place in the order stays."""
    values = rows.columns(pool)
    changed = connection.execute(pools.update().where(pools.c.name == pool.name).values(**values))
    if not changed.rowcount:
        last = connection.execute(sa.select(sa.func.max(pools.c.position))).scalar()
        position = 0 if last is None else last + 1
        connection.execute(
            pools.insert().values(tenant=tenant, owner=owner, position=position, **values)
        )


def every(connection: sa.Connection) -> list[Pool]:
    """All pools; the first one carries the parameter service."""
    query = sa.select(pools).order_by(pools.c.position)
    return [rows.record(Pool, row) for row in connection.execute(query)]
