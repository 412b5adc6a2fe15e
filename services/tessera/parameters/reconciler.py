"""Makes the coordinator's store and its shards know the same of what there is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, Protocol

import structlog

from tessera import errors
from tessera.background import comes
from tessera.parameters.holding import HeldSet, Holding
from tessera.parameters.shards import Shards
from tessera.parameters.store import Store
from tessera.rpc.deadline import remaining
from tessera.weights.manifest import HeadMove

log = structlog.get_logger()

WAIT_SECONDS = 20.0
SHORT_SECONDS = 2.0
"""What is waited for a shard where others can be heard without it."""
_PAUSE = 0.5


class Ask(Protocol):
    """Runs a method of the store on its thread."""

    async def __call__(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """What the method returns."""


class Reconciler:
    """Asks the shards what they hold: all of it at the start, and what is damaged at any time.

    A store that was lost is made anew from the shards: until all of them have answered, nothing is
    said of what there is.

    Args:
        store: the coordinator's.
        shards: clients of the shards.
        ask: runs the store's methods.
    """

    def __init__(self, store: Store, shards: Shards, ask: Ask) -> None:
        self._store = store
        self._shards = shards
        self._ask = ask
        self._known = asyncio.Event()
        self._done = asyncio.Event()
        self._mismatch = ""
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to ask; a store that knows its id serves meanwhile what it knows."""
        self._shards.store = await self._ask(lambda: self._store.recovery.store)
        if self._shards.store:
            self._known.set()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def known(self) -> None:
        """Wait until the store can say what there is.

        Raises:
            UnavailableError: it cannot yet (RECOVERING).
            FailedPreconditionError: the shards are of several stores (STORE_MISMATCH).
        """
        await self._wait(self._known)

    async def done(self) -> None:
        """Wait until the store knows all that the shards know; raises as `known` does."""
        await self._wait(self._done)

    async def examine(self, name: str) -> None:
        """Hear from the shards that are there whether the files of a set are."""
        committed = await self._ask(self._store.health.committed, name)
        for shard in self._shards.names:
            with contextlib.suppress(errors.UnavailableError):
                held = await self._shards.held(shard, name, check=True, patience=SHORT_SECONDS)
                await self._compare(shard, name, held, committed)

    async def hear(self) -> None:
        """Hear from the shards that are there what they know to be damaged."""
        for shard in self._shards.names:
            with contextlib.suppress(errors.UnavailableError):
                held = await self._shards.held(shard, damaged_only=True, patience=SHORT_SECONDS)
                await self._ask(self._store.health.known, shard, held.sets)

    async def _wait(self, event: asyncio.Event) -> None:
        if not event.is_set():
            await comes(event, remaining(WAIT_SECONDS))
        if event.is_set():
            return
        if self._mismatch:
            raise errors.FailedPreconditionError(self._mismatch, reason="STORE_MISMATCH")
        raise errors.UnavailableError(
            "the coordinator has yet to hear from every shard what there is; they may be starting",
            reason="RECOVERING",
            retry_after=1.0,
        )

    async def _run(self) -> None:
        while not self._done.is_set():
            try:
                await self._reconcile()
            except errors.UnavailableError as error:
                log.debug("shards are away", message=error.message)
            except errors.FailedPreconditionError as error:
                if not self._mismatch:
                    log.error("cannot reconcile", reason=error.reason, message=error.message)  # noqa: TRY400
                self._mismatch = error.message
            except Exception:
                log.exception("cannot hear from the shards")
            else:
                self._mismatch = ""
                self._known.set()
                self._done.set()
                return
            await asyncio.sleep(_PAUSE)

    async def _reconcile(self) -> None:
        names, recovery, health = self._shards.names, self._store.recovery, self._store.health
        committed = {
            name: await self._ask(health.committed, name) for name in await self._ask(recovery.sets)
        }
        found = await asyncio.gather(*(self._shards.held(name, check=True) for name in names))
        holdings: dict[str, Holding] = dict(zip(names, found, strict=True))
        self._shards.store = await self._ask(recovery.settle, holdings)
        unknown = await self._ask(recovery.catch_up, holdings)
        for key in unknown:
            records = await asyncio.gather(*(self._shards.read(name, *key) for name in names))
            found_again = await self._ask(recovery.adopt, key, records)
            log.info("found on the shards", set=key[0], version=key[1], committed=found_again)
            committed.setdefault(key[0], set()).add(key[1])
        recovered = bool(unknown)
        for name, move in _rollbacks(holdings.values()).items():
            if await self._ask(self._store.heads.found, name, move):
                log.info("found on the shards", set=name, rolled_back_to=move.version)
                recovered = True
        for name, numbers in committed.items():
            for shard, holding in holdings.items():
                await self._compare(shard, name, holding, numbers)
        await self.hear()  # From now on the shards belong to this store.
        await self._ask(recovery.finish, self._shards.store, recovered=recovered)

    async def _compare(self, shard: str, name: str, holding: Holding, committed: set[int]) -> None:
        """Know what a shard has lost of a set, and have it keep what it should know."""
        held = holding.sets.get(name, HeldSet())
        for number in await self._ask(self._store.health.compare, shard, name, held, committed):
            with contextlib.suppress(errors.NotFoundError):
                record = await self._ask(self._store.committed_record, name, number)
                await self._shards.record(shard, record)


def _rollbacks(holdings: Iterable[Holding]) -> dict[str, HeadMove]:
    """The last rollback that any shard knows of, by set."""
    found: dict[str, HeadMove] = {}
    for holding in holdings:
        for name, held in holding.sets.items():
            known = found.get(name)
            if held.head and (known is None or known.sequence < held.head.sequence):
                found[name] = held.head
    return found
