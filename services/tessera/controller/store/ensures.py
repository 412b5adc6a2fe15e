"""The newest ensure job of everything that stands: so that there are never two at once."""

from __future__ import annotations

import time

import sqlalchemy as sa

from tessera.controller.policy.records import EnsureJob
from tessera.controller.store import rows
from tessera.controller.store.schema import ensures

RUNNING, SUCCEEDED, FAILED = "RUNNING", "SUCCEEDED", "FAILED"


def every(connection: sa.Connection) -> dict[str, EnsureJob]:
    """All of them, by key."""
    return {row.key: rows.record(EnsureJob, row) for row in connection.execute(sa.select(ensures))}


def begin(connection: sa.Connection, new: EnsureJob, *, tenant: str, owner: str) -> None:
    """Record an ensure job before it is submitted."""
    values = {**rows.columns(new), "tenant": tenant, "owner": owner}
    connection.execute(ensures.delete().where(ensures.c.key == new.key))
    connection.execute(ensures.insert().values(**values))


def end(
    connection: sa.Connection, submission_id: str, *, ok: bool, message: str = "", weight: int = 1
) -> None:
    """Record how it ended; failures in a row are counted.

    Args:
        connection: of a transaction.
        submission_id: of the ensure job.
        ok: whether all stands.
        message: why not.
        weight: of a failure.
    """
    values = {
        "status": SUCCEEDED if ok else FAILED,
        "ended": time.time(),
        "message": message,
        "failures": sa.literal(0) if ok else ensures.c.failures + weight,
    }
    connection.execute(
        ensures.update().where(ensures.c.submission_id == submission_id).values(**values)
    )


def forget(connection: sa.Connection, key: str) -> None:
    """Nothing of that key stands any more."""
    connection.execute(ensures.delete().where(ensures.c.key == key))
