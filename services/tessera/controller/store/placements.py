"""Where standing work is, in the store."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from tessera.controller.policy.records import Placement, StoredWorker
from tessera.controller.store import rows
from tessera.controller.store.schema import placements


def put(connection: sa.Connection, placement: Placement) -> None:
    """Work has its places, or has others now."""
    rows.replace(connection, placements, placement)


def move(connection: sa.Connection, key: str, workers: Sequence[StoredWorker]) -> None:
    """Nodes that were promised to work have come."""
    change = placements.update().where(placements.c.key == key)
    connection.execute(change.values(workers=tuple(workers)))


def drop(connection: sa.Connection, key: str) -> None:
    """Work has none."""
    connection.execute(placements.delete().where(placements.c.key == key))


def every(connection: sa.Connection) -> dict[str, Placement]:
    """All, by key."""
    found = connection.execute(sa.select(placements))
    return {row.key: rows.record(Placement, row) for row in found}
