"""The database: one writer, any number of readers, never on the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
import structlog

from tessera import errors
from tessera.controller.policy.lease import STANDBY_SECONDS, HeldLease
from tessera.controller.store import lease, migrating
from tessera.controller.store.engine import database_errors, engine, parse
from tessera.controller.store.holder_lock import HolderLock
from tessera.rpc.pace import counted
from tessera.rpc.principal import PLATFORM, Role, current_principal
from tessera.rpc.turns import Turns

log = structlog.get_logger()

P = ParamSpec("P")
R = TypeVar("R")

_WRITER_LOCK = 0x7E55E7B
"""Of PostgreSQL's advisory locks: all controllers together have one writer, as on SQLite."""

_UNLOCKED = "~"
"""Ends the name of a holder that took the lease while another process had the file's lock."""

_ONE_WRITER = sa.text(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})")

_FENCE: ContextVar[int] = ContextVar("fence", default=0)
"""The token that the writes of this context need; 0: they need none."""

_WRITES = 3
"""Of callers that are on their way to the writer at once, each of another principal: whoever comes
waits for one of every other's, and not for all that somebody has asked for."""

_READERS, _READS = 4, 8
"""Threads, and reads on their way to them, of which a principal has three: one thread is free."""


class Database:
    """Runs functions that take a connection, each in a transaction of its own.

    Writes queue on one thread. Those that are made `leading` need the lease: a controller that
    another one has replaced does nothing of that kind any more. All others, what callers ask for,
    need only the schema.

    Args:
        url: of SQLAlchemy, for example `sqlite:////path/controller.db`.

    Raises:
        InvalidArgumentError: of a database that we cannot use (BAD_DATABASE_URL).
    """

    def __init__(self, url: str | sa.URL) -> None:
        self.holder = secrets.token_hex(8)
        self.address = ""
        self._engine = engine(url, self.holder, _READERS + 2)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        # Of its own: whatever the writer waits for, the lease is renewed.
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix="store-lease")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="store-read")
        self._writes, self._reads = Turns(_WRITES), Turns(_READS)
        self._held: HeldLease | None = None
        self._lock = HolderLock(parse(url))

    @property
    def leads(self) -> bool:
        """Whether this process surely holds the lease, with time left to act."""
        held = self._held
        return held is not None and held.surely(time.monotonic())

    async def open(self) -> None:
        """Take the lease if it is free, and then migrate; wait for whoever has it to migrate.

        Raises:
            FailedPreconditionError: a newer build has used the database (SCHEMA_NEWER).
            UnavailableError: the database cannot be asked (DATABASE_UNAVAILABLE).
        """
        while not await self._run(self._keeper, self._open):
            log.info("waits for the leader to migrate")
            await asyncio.sleep(STANDBY_SECONDS)

    async def keep(self) -> int:
        """Renew the lease, or try to take it; returns its token, 0: somebody else has it.

        Raises:
            UnavailableError: the database cannot be asked (DATABASE_UNAVAILABLE).
        """
        await self._run(self._keeper, self._keep)
        return self._held.token if self._held and self.leads else 0

    async def leader(self) -> lease.Leader | None:
        """Who leads, or led last."""
        return await self.read(lease.leader)

    @contextmanager
    def leading(self) -> Iterator[None]:
        """Writes of this context, and of tasks that it makes, need the lease that is held now.

        Raises:
            AbortedError: this process does not lead (CONTROLLER_FENCED).
        """
        held = self._held
        if held is None:
            raise lease.fenced()
        kept = _FENCE.set(held.token)
        try:
            yield
        finally:
            _FENCE.reset(kept)

    def check_leads(self) -> None:
        """Raise AbortedError unless this process surely leads; before what cannot be undone."""
        if not self.leads or (_FENCE.get() and self._held and self._held.token != _FENCE.get()):
            raise lease.fenced()

    async def write(
        self,
        function: Callable[Concatenate[sa.Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call `function(connection, …)` in a transaction; it commits unless it raises.

        Raises:
            AbortedError: it needs the lease, and another controller has it (CONTROLLER_FENCED).
            UnavailableError: the database cannot be asked (DATABASE_UNAVAILABLE).
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
        """Finish what runs, give the lease back and close every connection."""
        await asyncio.to_thread(self._writer.shutdown)
        await asyncio.to_thread(self._readers.shutdown)
        with suppress(errors.UnavailableError):
            await self._run(self._keeper, self._give_back)
        await asyncio.to_thread(self._keeper.shutdown)
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

    def _open(self) -> bool:
        asked = time.monotonic()
        with database_errors(), self._begin() as connection:
            migrating.lock(connection)
            shared = migrating.has_lease(connection)
            before = lease.leader(connection) if shared else None
            token = self._take(connection) if shared else 0
            if shared and not token:
                return migrating.is_current(connection)
            migrating.migrate(connection)
            token = token or self._take(connection)
        self._lead(token, asked, before)
        return True

    def _keep(self) -> None:
        asked, held = time.monotonic(), self._held
        with database_errors(), self._begin() as connection:
            if held is not None and lease.renew(connection, held.token):
                token, before = held.token, None
            else:
                self._held = None
                before = lease.leader(connection)
                token = self._take(connection) if migrating.is_current(connection) else 0
        if token:
            self._lead(token, asked, before)
        else:
            self._lock.release()

    def _take(self, connection: sa.Connection) -> int:
        alone = self._lock.acquire()
        found = lease.leader(connection)
        gone = alone and found is not None and not found.holder.endswith(_UNLOCKED)
        holder = self.holder if alone else f"{self.holder}{_UNLOCKED}"
        return lease.take(connection, holder, self.address, gone=gone)

    def _lead(self, token: int, asked: float, before: lease.Leader | None) -> None:
        """Lead from now on; nothing that the last leader has begun is committed any more."""
        if before is not None and self.holder not in before.holder:
            with database_errors(), self._begin() as connection:
                lease.end_sessions(connection, before.holder.removesuffix(_UNLOCKED))
        self._held = HeldLease(token=token, asked=asked)

    def _give_back(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            with database_errors(), self._begin() as connection:
                lease.give_back(connection, held.token)
        self._lock.release()

    def _write(self, function: Callable[..., R], args: Any, kwargs: Any) -> R:
        with counted(), database_errors(), self._begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(_ONE_WRITER)
            if fence := _FENCE.get():
                lease.check(connection, fence)
            return function(connection, *args, **kwargs)

    def _read(self, function: Callable[..., R], args: Any, kwargs: Any) -> R:
        with counted(), database_errors(), self._snapshot() as connection, connection.begin():
            return function(connection, *args, **kwargs)

    def _begin(self) -> Any:
        return self._engine.execution_options(tessera_write=True).begin()

    def _snapshot(self) -> sa.Connection:
        if self._engine.dialect.name != "postgresql":
            return self._engine.connect()
        return self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        ).connect()


def _hear(work: asyncio.Future[Any]) -> None:
    """Take what a transaction raised, for its caller may be gone; only a defect is news to us."""
    error = None if work.cancelled() else work.exception()
    if error is not None and not isinstance(error, errors.TesseraError):
        log.warning("a transaction failed", error=errors.describe(error))
