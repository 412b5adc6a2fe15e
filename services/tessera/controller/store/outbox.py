"""Commands that a transition left to be carried out; a command may be carried out twice."""

from __future__ import annotations

import time

import sqlalchemy as sa

from tessera.controller.policy.job import CommandKind
from tessera.controller.policy.records import PendingCommand
from tessera.controller.store import rows
from tessera.controller.store.schema import outbox


def due(connection: sa.Connection, limit: int = 1024) -> list[PendingCommand]:
    """The first command of each job, where its time has come."""
    query = (
        sa.select(outbox)
        .where(outbox.c.due <= time.time(), _first())
        .order_by(outbox.c.id)
        .limit(limit)
    )
    return [rows.record(PendingCommand, row) for row in connection.execute(query)]


def _first() -> sa.ColumnElement[bool]:
    """Whether a command waits behind no other of its job.

    A driver may be deaf to a stop for long, so that a kill does not wait behind one.
    """
    earlier = outbox.alias()
    kill, stop = CommandKind.KILL.value, CommandKind.STOP.value
    blocked = sa.exists().where(
        earlier.c.job == outbox.c.job,
        earlier.c.id < outbox.c.id,
        sa.or_(outbox.c.kind != kill, earlier.c.kind != stop),
    )
    return ~blocked


def next_due(connection: sa.Connection) -> float | None:
    """When the next command is due that waits behind no other."""
    value = connection.execute(sa.select(sa.func.min(outbox.c.due)).where(_first())).scalar()
    return None if value is None else float(value)


def done(connection: sa.Connection, command: int) -> None:
    """The command was carried out."""
    connection.execute(outbox.delete().where(outbox.c.id == command))


def again(connection: sa.Connection, command: int, delay: float, error: str) -> None:
    """The command could not be carried out; try again in `delay` seconds."""
    connection.execute(
        outbox.update()
        .where(outbox.c.id == command)
        .values(tries=outbox.c.tries + 1, due=time.time() + delay, error=error)
    )


def withdraw(connection: sa.Connection, job: str, attempt: int) -> None:
    """An attempt needs no longer be asked to end."""
    connection.execute(
        outbox.delete().where(
            outbox.c.job == job,
            outbox.c.attempt == attempt,
            outbox.c.kind.in_((CommandKind.STOP.value, CommandKind.KILL.value)),
        )
    )
