"""Registered pools in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from tessera import errors
from tessera.controller.policy.records import Pool, StoredGroup
from tessera.controller.store import rows
from tessera.controller.store.changes import ChangeKind, touch
from tessera.controller.store.reservations import reservations
from tessera.controller.store.schema import node_groups, pools

SHOWN = 3
"""Names that a refusal shows."""


def put(connection: sa.Connection, pool: Pool, *, tenant: str, owner: str) -> None:
    """Add a pool, or change where it is; its place in the order stays. Its token is the new one."""
    values = rows.columns(pool)
    changed = connection.execute(pools.update().where(pools.c.name == pool.name).values(**values))
    if not changed.rowcount:
        last = connection.execute(sa.select(sa.func.max(pools.c.position))).scalar()
        position = 0 if last is None else last + 1
        connection.execute(
            pools.insert().values(tenant=tenant, owner=owner, position=position, **values)
        )


def change(connection: sa.Connection, pool: Pool, *, tenant: str, owner: str) -> Pool:
    """`put`, but without a token the pool keeps its own while it stays where it is.

    Raises:
        FailedPreconditionError: it would move while work is on it: whoever is asked there then
            knows nothing of that work, which goes on where it is (POOL_IN_USE).
    """
    known = {item.name: item for item in every(connection)}.get(pool.name)
    if known is not None and not pool.token and known.dashboard_url == pool.dashboard_url:
        pool = replace(pool, token=known.token)
    if known is not None and known.dashboard_url != pool.dashboard_url:
        _check_free(connection, pool.name, "a pool that moves holds nothing")
    put(connection, pool, tenant=tenant, owner=owner)
    return pool


def delete(connection: sa.Connection, name: str) -> None:
    """Forget a pool.

    Raises:
        NotFoundError: there is none of that name (POOL_NOT_FOUND).
        FailedPreconditionError: something of Tessera's holds a part of it (POOL_IN_USE).
    """
    if name not in {item.name for item in every(connection)}:
        raise errors.NotFoundError(f"there is no pool '{name}'", reason="POOL_NOT_FOUND")
    _check_free(connection, name, "end them first")
    put_groups(connection, name, ())
    connection.execute(pools.delete().where(pools.c.name == name))


def _check_free(connection: sa.Connection, name: str, remedy: str) -> None:
    held = [item.what for item in reservations(connection) if item.pool == name]
    if held:
        more = f" and {len(held) - SHOWN} more" if len(held) > SHOWN else ""
        raise errors.FailedPreconditionError(
            f"pool '{name}' is held by {', '.join(held[:SHOWN])}{more}; {remedy}",
            reason="POOL_IN_USE",
        )


def every(connection: sa.Connection) -> list[Pool]:
    """All pools; the first one carries the parameter service."""
    query = sa.select(pools).order_by(pools.c.position)
    return [rows.record(Pool, row) for row in connection.execute(query)]


def groups(connection: sa.Connection) -> tuple[StoredGroup, ...]:
    """The node groups of all pools that can grow."""
    query = sa.select(node_groups).order_by(node_groups.c.pool, node_groups.c.name)
    return tuple(rows.record(StoredGroup, row) for row in connection.execute(query))


def put_groups(connection: sa.Connection, pool: str, new: Sequence[StoredGroup]) -> None:
    """The node groups of a pool, and no others."""
    connection.execute(node_groups.delete().where(node_groups.c.pool == pool))
    for group in new:
        connection.execute(node_groups.insert().values(**rows.columns(group)))
    touch(connection, ChangeKind.NODES)
