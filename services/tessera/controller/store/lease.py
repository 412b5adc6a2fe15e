"""The lease of the one controller that leads: taken, renewed, given back, and fenced by."""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa

from tessera import errors
from tessera.controller.policy.lease import TTL_SECONDS
from tessera.controller.store.engine import session_name
from tessera.controller.store.schema import leases

_LEASE = "controller"
_ENDED_MS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """Who leads, or led last.

    Args:
        holder: id of the process.
        address: `host:port` of its services; empty: not known.
        token: fencing token.
        expires: seconds since the epoch, by the database's clock.
    """

    holder: str
    address: str
    token: int
    expires: float


def leader(connection: sa.Connection) -> Leader | None:
    """Who leads, or led last; None: nobody ever has."""
    query = sa.select(leases.c.holder, leases.c.address, leases.c.token, leases.c.expires).where(
        leases.c.name == _LEASE
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Leader(**row._mapping)  # noqa: SLF001 - a public name


def take(connection: sa.Connection, holder: str, address: str, *, gone: bool = False) -> int:
    """Take the lease if it is free or one's own; returns the token, 0: somebody else has it.

    Args:
        connection: in a transaction.
        holder: who takes it.
        address: `host:port` of its services.
        gone: whether the last holder is known to be dead.

    Once that has been committed, `end_sessions` of the last holder: what they were about to commit
    is then not committed any more, and what they begin afterwards is fenced.
    """
    now = _now(connection)
    before = leader(connection)
    values = {"holder": holder, "address": address, "acquired": now, "expires": now + TTL_SECONDS}
    if before is None:
        connection.execute(leases.insert().values(name=_LEASE, token=1, **values))
        return 1
    free = (leases.c.expires <= now) | (leases.c.holder == holder) | sa.literal(gone)
    changed = connection.execute(
        leases.update()
        .where(leases.c.name == _LEASE, leases.c.token == before.token, free)
        .values(token=before.token + 1, **values)
    )
    return before.token + 1 if changed.rowcount else 0


def end_sessions(connection: sa.Connection, holder: str) -> None:
    """End the sessions of a holder that has lost the lease; on SQLite nothing is to be done.

    There a writer has the file's lock from its first statement to its commit.
    """
    if connection.dialect.name == "postgresql":
        ended = "SELECT pg_terminate_backend(pid, :ms) FROM pg_stat_activity"
        where = " WHERE application_name = :name AND pid <> pg_backend_pid()"
        connection.execute(
            sa.text(ended + where), {"name": session_name(holder), "ms": _ENDED_MS}
        ).all()


def renew(connection: sa.Connection, token: int) -> bool:
    """Have the lease for longer; False: somebody else has it."""
    changed = connection.execute(_mine(token).values(expires=_now(connection) + TTL_SECONDS))
    return bool(changed.rowcount)


def give_back(connection: sa.Connection, token: int) -> None:
    """Let somebody else take it at once."""
    connection.execute(_mine(token).values(expires=0.0))


def check(connection: sa.Connection, token: int) -> None:
    """Raise AbortedError unless `token` is the newest (CONTROLLER_FENCED). It locks nothing."""
    query = sa.select(leases.c.token).where(leases.c.name == _LEASE)
    if connection.execute(query).scalar() != token:
        raise fenced()


def fenced() -> errors.AbortedError:
    """What a controller is told that leads no more."""
    return errors.AbortedError("another controller leads now", reason="CONTROLLER_FENCED")


def _mine(token: int) -> sa.Update:
    return leases.update().where(leases.c.name == _LEASE, leases.c.token == token)


def _now(connection: sa.Connection) -> float:
    """Seconds since the epoch by the one clock that all controllers see."""
    if connection.dialect.name == "postgresql":
        clock = sa.select(sa.extract("epoch", sa.func.clock_timestamp()))
        return float(connection.execute(clock).scalar_one())
    return time.time()  # A file of SQLite is of one machine.
