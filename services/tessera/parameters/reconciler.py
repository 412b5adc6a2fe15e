"""Makes the coordinator's store and its shards know the same of what there is."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import structlog

from tessera import errors
from tessera.background import Background, comes
from tessera.parameters.holding import HeldSet, Holding
from tessera.parameters.shards import CHECK_SECONDS, Shards
from tessera.parameters.store import Store
from tessera.rpc.deadline import remaining
from tessera.weights.manifest import HeadMove

log = structlog.get_logger()

WAIT_SECONDS = 20.0
SHORT_SECONDS = 2.0
"""What is waited for a shard where others can be heard without it."""
_PAUSE = 0.5
LOOK_SECONDS = 2.0
"""Between two looks whether a shard has come, or come again."""
BEGIN_SECONDS = 10.0
"""So long a store that knows its id waits for all shards before it lets anything be written."""


class Ask(Protocol):
    """Runs a method of the store on its thread."""

    async def __call__(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """What the method returns."""


class Reconciler:
    """Asks each shard what it holds when it comes, and what is damaged at any time.

    A store that was lost is made anew from the shards: until all of them have answered, or those
    that have not count as gone, nothing is said of what there is. A shard that nobody expected
    belongs to the store from then on; one that has the data of another store does not.

    Args:
        store: the coordinator's.
        shards: clients of the shards.
        ask: runs the store's methods.
        changed: hears when a shard has come, or has lost something.
    """

    def __init__(self, store: Store, shards: Shards, ask: Ask, changed: Callable[[], None]) -> None:
        self._store = store
        self._shards = shards
        self._ask = ask
        self._changed = changed
        self._known = asyncio.Event()
        self._done = asyncio.Event()
        self._mismatch = ""
        self._begun = time.monotonic()
        self._heard: dict[str, str] = {}
        self._foreign: dict[str, str] = {}
        self._looks = Background("reconciler", self._round)

    async def start(self) -> None:
        """Begin to ask; a store that knows its id serves meanwhile what it knows."""
        self._begun = time.monotonic()
        self._shards.store = await self._ask(lambda: self._store.recovery.store)
        await self.members()
        if self._shards.store:
            self._known.set()
        self._looks.start()

    async def stop(self) -> None:
        """Ask no more."""
        await self._looks.stop()

    async def members(self) -> None:
        """Know again which shards there are, and which of them are drained."""
        names = await self._ask(self._store.members.names)
        self._shards.names = tuple(names)
        self._shards.draining = frozenset(name for name, draining in names.items() if draining)

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
        for shard in self._there():
            with contextlib.suppress(errors.UnavailableError):
                held = await self._shards.held(shard, name, check=True, patience=SHORT_SECONDS)
                await self._compare(shard, name, held, committed)

    async def hear(self) -> None:
        """Hear from the shards that are there what they know to be damaged."""
        for shard in self._there():
            with contextlib.suppress(errors.UnavailableError):
                held = await self._shards.held(shard, damaged_only=True, patience=SHORT_SECONDS)
                await self._ask(self._store.health.known, shard, held.sets)

    def _there(self) -> list[str]:
        """Shards that answered last, and are of this store."""
        answering = self._shards.fleet().answering
        return [name for name in self._heard if name in answering]

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

    async def _round(self) -> None:
        try:
            await self._look()
        except errors.UnavailableError as error:
            log.debug("shards are away", message=error.message)
        except errors.FailedPreconditionError as error:
            if not self._mismatch:
                log.error("cannot reconcile", reason=error.reason, message=error.message)  # noqa: TRY400
            self._mismatch = error.message
        else:
            self._mismatch = ""
        await asyncio.sleep(LOOK_SECONDS if self._done.is_set() else _PAUSE)

    async def _look(self) -> None:
        """Hear from those that have come since the last look."""
        found = await self._shards.refresh()
        missing = self._shards.fleet().counted.difference(found)
        if missing and not self._shards.store:
            return  # They may know of versions that others do not.
        new = [
            name
            for name, address in found.items()
            if address not in {self._heard.get(name), self._foreign.get(name)}
        ]
        ours = [name for name in new if name in self._shards.names]
        joining = [name for name in new if name not in self._shards.names]
        if ours:
            await self._reconcile(ours)
            self._heard |= {name: found[name] for name in ours}
        for name in joining if self._shards.store else ():
            await self._join(name, found[name])
        enough = not missing or time.monotonic() - self._begun > BEGIN_SECONDS
        if self._heard and enough and not self._done.is_set():
            self._known.set()
            self._done.set()
        if new:
            self._changed()

    async def _join(self, name: str, address: str) -> None:
        """A shard that was not expected, unless it is of another store."""
        try:
            held = await self._shards.held(name, damaged_only=True, patience=SHORT_SECONDS)
            if held.store != self._shards.store:
                raise errors.FailedPreconditionError(
                    f"it has the data of store {held.store}", reason="STORE_MISMATCH"
                )
        except errors.UnavailableError:
            return  # It is asked again at the next look.
        except errors.TesseraError as error:
            self._foreign[name] = address
            log.warning("not taken in", shard=name, reason=error.reason, message=error.message)
            return
        await self._ask(self._store.members.join, [name])
        await self.members()
        await self._reconcile([name])
        self._heard[name] = address
        log.info("joined", shard=name)

    async def _reconcile(self, names: Sequence[str]) -> None:
        recovery, health = self._store.recovery, self._store.health
        committed = {
            name: await self._ask(health.committed, name) for name in await self._ask(recovery.sets)
        }
        found = await asyncio.gather(
            *(self._shards.held(name, check=True, patience=CHECK_SECONDS) for name in names)
        )
        holdings: dict[str, Holding] = dict(zip(names, found, strict=True))
        self._shards.store = await self._ask(recovery.settle, holdings)
        recovered = False
        for key in await self._ask(recovery.catch_up, holdings):
            everyone = {*self._there(), *names}
            records = await asyncio.gather(*(self._shards.read(name, *key) for name in everyone))
            found_again = await self._ask(recovery.adopt, key, records)
            log.info("found on the shards", set=key[0], version=key[1], committed=found_again)
            committed.setdefault(key[0], set()).add(key[1])
            recovered = True
        for name, move in _rollbacks(holdings.values()).items():
            if await self._ask(self._store.heads.found, name, move):
                log.info("found on the shards", set=name, rolled_back_to=move.version)
                recovered = True
        for name, numbers in committed.items():
            for shard, holding in holdings.items():
                await self._compare(shard, name, holding, numbers)
        for shard in names:  # From now on they belong to this store.
            held = await self._shards.held(shard, damaged_only=True)
            await self._ask(health.known, shard, held.sets)
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
