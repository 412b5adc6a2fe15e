"""Engines of the two databases, and what their failures mean to a caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
import structlog

from tessera import errors

log = structlog.get_logger()

RETRY_SECONDS = 1.0

_SESSION = {
    # A lock that is waited for so long is held by somebody who is not well.
    "lock_timeout": "10s",
    "statement_timeout": "30s",
    # A process that was stopped within a transaction keeps nobody out for longer.
    "idle_in_transaction_session_timeout": "5s",
}


def engine(url: str | sa.URL, holder: str, connections: int) -> sa.Engine:
    """An engine for `sqlite` or `postgresql+psycopg`.

    Args:
        url: of SQLAlchemy.
        holder: names the sessions, so that whoever takes over can end them.
        connections: the most that are open at once.

    Raises:
        InvalidArgumentError: another database, or its driver is not here (BAD_DATABASE_URL).
    """
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite":
        made = sa.create_engine(parsed)
        sa.event.listen(made, "connect", _configure_sqlite)
        sa.event.listen(made, "begin", _begin_sqlite)
        return made
    options = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    return sa.create_engine(
        parsed,
        pool_pre_ping=True,
        pool_size=connections,
        max_overflow=0,
        connect_args={
            "application_name": session_name(holder),
            "options": options,
            "connect_timeout": 5,
        },
    )


def parse(url: str | sa.URL) -> sa.URL:
    """The URL of a database that we can use.

    Raises:
        InvalidArgumentError: it is none (BAD_DATABASE_URL).
    """
    try:
        parsed = sa.make_url(url)
        if parsed.drivername in {"sqlite", "sqlite+pysqlite", "postgresql+psycopg"}:
            parsed.get_dialect().import_dbapi()
            return parsed
    except (sa.exc.ArgumentError, ValueError) as error:
        raise _bad("it is not written as DIALECT+DRIVER://USER@HOST/NAME") from error
    except ImportError as error:
        raise _bad("its driver is not installed: pip install 'tessera[postgres]'") from error
    raise _bad("it must begin with sqlite:// or postgresql+psycopg://")


def session_name(holder: str) -> str:
    """What the sessions of one controller are called in `pg_stat_activity`."""
    return f"tessera-{holder}"


@contextmanager
def database_errors() -> Iterator[None]:
    """A database that cannot be asked is UNAVAILABLE, whatever its driver calls that.

    Raises:
        UnavailableError: it restarts, is too busy, or ended the session (DATABASE_UNAVAILABLE).
    """
    try:
        yield
    except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
        if not _passes(error):
            raise
        log.warning("the database does not answer", error=errors.describe(error))
        raise errors.UnavailableError(
            "the database does not answer; try again in a moment",
            reason="DATABASE_UNAVAILABLE",
            retry_after=RETRY_SECONDS,
        ) from error


def _passes(error: sa.exc.DBAPIError | sa.exc.TimeoutError) -> bool:
    """Whether a failure is of the database's state, and no defect of a statement."""
    if isinstance(error, sa.exc.TimeoutError) or error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", "")  # SQLite has none.
    if state is None:  # A server gives each of its own errors one.
        return isinstance(error, sa.exc.OperationalError)
    if state:
        # The connection, deadlocks, resources, locks, cancelled or shut down; idle for too long.
        return str(state).startswith(("08", "40", "53", "55", "57", "25P03"))
    busy = ("locked", "busy", "disk i/o", "database or disk is full", "unable to open")
    return isinstance(error, sa.exc.OperationalError) and any(
        word in str(error.orig).lower() for word in busy
    )


def _bad(why: str) -> errors.InvalidArgumentError:
    # The URL itself holds a password, and is not repeated.
    return errors.InvalidArgumentError.at("--database", why, "BAD_DATABASE_URL")


def _configure_sqlite(dbapi: Any, _record: Any) -> None:
    # The driver must not open transactions of its own: _begin_sqlite does.
    dbapi.isolation_level = None
    cursor = dbapi.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer takes the lock at once: one that upgrades later could fail half-way.
    write = connection.get_execution_options().get("tessera_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
