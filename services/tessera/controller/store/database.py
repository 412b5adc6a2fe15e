"""The database: one writer, any number of readers, never on the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
import structlog
from alembic import command
from alembic.config import Config as AlembicConfig

from tessera import errors
from tessera.controller.store.schema import leases
from tessera.rpc.pace import counted
from tessera.rpc.principal import PLATFORM, Role, current_principal
from tessera.rpc.turns import Turns

log = structlog.get_logger()

P = ParamSpec("P")
R = TypeVar("R")

_LEASE = "controller"

_WRITES = 3
"""Of callers that are on their way to the writer at once, each of another principal: whoever comes
waits for one of every other's, and not for all that somebody has asked for."""

_READERS, _READS = 4, 8
"""Threads, and reads on their way to them, of which a principal has three: one thread is free."""


class Database:
    """Runs functions that take a connection, each in a transaction of its own.

    Writes queue on one thread. Each first checks that this process still holds the lease that it
    took at the start; a controller that another one has replaced changes nothing any more.

    Args:
        url: of SQLAlchemy, for example `sqlite:////path/controller.db`.
    """

    def __init__(self, url: str | sa.URL) -> None:
        self._engine = _engine(url)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="store-read")
        self._writes, self._reads = Turns(_WRITES), Turns(_READS)
        self.holder = secrets.token_hex(8)
        self.token = 0

    async def open(self) -> None:
        """Migrate to the newest schema and take the writer's lease."""
        await self._run(self._writer, self._open)

    async def write(
        self,
        function: Callable[Concatenate[sa.Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call `function(connection, …)` in a transaction; it commits unless it raises.

        Raises:
            AbortedError: another controller has taken over (CONTROLLER_FENCED).
        """
        return await self._in_turn(self._writes, self._writer, self._write, function, args, kwargs)

    async def read(
        self,
        function: Callable[Concatenate[sa.Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call `function(connection, …)` on one consistent snapshot."""
        return await self._in_turn(self._reads, self._readers, self._read, function, args, kwargs)

    async def close(self) -> None:
        """Finish what runs and close every connection."""
        await asyncio.to_thread(self._writer.shutdown)
        await asyncio.to_thread(self._readers.shutdown)
        self._engine.dispose()

    async def _in_turn(
        self, turns: Turns, executor: ThreadPoolExecutor, call: Callable[..., R], *args: Any
    ) -> R:
        """Run a call when it is its caller's turn; the controller's own work waits for none."""
        caller = current_principal()
        if caller.role in PLATFORM or caller.role is Role.ANONYMOUS:
            return await self._run(executor, call, *args)
        await turns.take(caller.tenant, caller.subject)
        return await self._run(
            executor, call, *args, over=lambda _: turns.give(caller.tenant, caller.subject)
        )

    async def _run(
        self,
        executor: ThreadPoolExecutor,
        call: Callable[..., R],
        *args: Any,
        over: Callable[[Any], None] | None = None,
    ) -> R:
        # Shielded: a caller that goes away does not leave a transaction half reported.
        loop = asyncio.get_running_loop()
        # The caller's context goes along, so that what is logged there names its job.
        bound = functools.partial(contextvars.copy_context().run, call, *args)
        work = loop.run_in_executor(executor, bound)
        work.add_done_callback(_hear)
        if over is not None:
            work.add_done_callback(over)
        return await asyncio.shield(work)

    def _open(self) -> None:
        with self._engine.connect() as connection:
            migrate(connection)
        with self._begin() as connection:
            self.token = take_lease(connection, self.holder)

    def _write(self, function: Callable[..., R], args: Any, kwargs: Any) -> R:
        with counted(), self._begin() as connection:
            check_lease(connection, self.token)
            return function(connection, *args, **kwargs)

    def _read(self, function: Callable[..., R], args: Any, kwargs: Any) -> R:
        with counted(), self._engine.connect() as connection, connection.begin():
            return function(connection, *args, **kwargs)

    def _begin(self) -> Any:
        engine = self._engine.execution_options(tessera_write=True)
        return engine.begin()


def _hear(work: asyncio.Future[Any]) -> None:
    """Take what a transaction raised, for its caller may be gone; only a defect is news to us."""
    error = None if work.cancelled() else work.exception()
    if error is not None and not isinstance(error, errors.TesseraError):
        log.warning("a transaction failed", error=errors.describe(error))


def take_lease(connection: sa.Connection, holder: str) -> int:
    """Become the one writer; returns the fencing token."""
    held = connection.execute(
        sa.select(leases.c.token).where(leases.c.name == _LEASE).with_for_update()
    ).scalar()
    values = {"holder": holder, "token": (held or 0) + 1, "acquired": time.time()}
    if held is None:
        connection.execute(leases.insert().values(name=_LEASE, **values))
    else:
        connection.execute(leases.update().where(leases.c.name == _LEASE).values(**values))
    return (held or 0) + 1


def check_lease(connection: sa.Connection, token: int) -> None:
    """Raise AbortedError unless `token` is the newest."""
    held = connection.execute(
        sa.select(leases.c.token).where(leases.c.name == _LEASE).with_for_update(read=True)
    ).scalar()
    if held != token:
        raise errors.AbortedError(
            "another controller has taken this database over", reason="CONTROLLER_FENCED"
        )


def migrate(connection: sa.Connection) -> None:
    """Bring the schema to the newest revision."""
    config = AlembicConfig()
    config.set_main_option("script_location", "tessera.controller:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    connection.commit()


def _engine(url: str | sa.URL) -> sa.Engine:
    engine = sa.create_engine(url)
    if engine.dialect.name != "sqlite":
        return engine
    sa.event.listen(engine, "connect", _configure_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


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
