"""What the scheduler has to look at, noted in the transaction that changed it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

from tessera.controller.store import rows
from tessera.controller.store.schema import changes

BATCH = 2000
"""Changes that are taken up at once."""


class ChangeKind(StrEnum):
    """Of what there is a change; its key is the id of a job, the key of a deployment, or empty."""

    JOB = "job"
    DEPLOYMENT = "deployment"
    QUEUES = "queues"
    NODES = "nodes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One note."""

    id: int
    kind: ChangeKind
    key: str


def touch(connection: sa.Connection, kind: ChangeKind, key: str = "") -> None:
    """Whether or how something may be scheduled has changed."""
    connection.execute(changes.insert().values(kind=kind.value, key=key))


def pending(connection: sa.Connection) -> list[Change]:
    """The oldest that nobody has dropped, at most BATCH."""
    query = sa.select(changes).order_by(changes.c.id).limit(BATCH)
    return [
        Change(id=row.id, kind=ChangeKind(row.kind), key=row.key)
        for row in connection.execute(query)
    ]


def drop(connection: sa.Connection, taken: list[Change]) -> None:
    """They have been looked at: each by itself, for a lower number may yet be committed."""
    for part in rows.parts([change.id for change in taken]):
        connection.execute(changes.delete().where(changes.c.id.in_(part)))
