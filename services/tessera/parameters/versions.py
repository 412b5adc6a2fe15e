"""The life of versions: opened, sealed by all shards, committed, watched, forgotten."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import structlog

from tessera import errors
from tessera.meter import Meter
from tessera.parameters.metrics import VERSIONS_COMMITTED
from tessera.parameters.shards import Shards
from tessera.parameters.store import Store
from tessera.weights.coverage import check_coverage
from tessera.weights.manifest import ShardAddress, TensorSpec, Version

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")

SWEEP_SECONDS = 15.0


class Versions:
    """The coordinator without its transport.

    Args:
        store: what is durable; it is used on one thread of its own, since each of its transactions
            waits for the disk.
        shards: clients of the shards.
        meter: counts commits.
    """

    def __init__(self, store: Store, shards: Shards, meter: Meter) -> None:
        self.store = store
        self.shards = shards
        self._meter = meter
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._changed: dict[str, asyncio.Event] = {}
        self._sweep = asyncio.Event()
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to forget what may go."""
        self._sweeper = asyncio.create_task(self._sweeping())

    async def stop(self) -> None:
        """End all work and close the store."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        self._thread.shutdown()
        self.store.close()
        await self.shards.close()

    async def ask(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a method of the store on its thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: method(*args, **kwargs))

    async def open(  # noqa: PLR0917 - as the store's
        self,
        name: str,
        epoch: int,
        step: int,
        tensors: Sequence[TensorSpec],
        assets: Mapping[str, bytes],
        labels: Mapping[str, str],
    ) -> tuple[int, list[ShardAddress]]:
        """Begin a version once all shards are there; returns its number and the shards."""
        addresses = await self.shards.addresses(wait=True)
        number = await self.ask(self.store.open, name, epoch, step, tensors, assets, labels)
        self._sweep.set()
        return number, addresses

    async def seal(self, name: str, number: int, epoch: int) -> tuple[int, int]:
        """Make a version durable on every shard and check it; returns slices and bytes.

        Raises:
            FailedPreconditionError: it is not whole (INCOMPLETE, OVERLAP …), or FENCED.
        """
        tensors = await self.ask(self.store.unsealed, name, number, epoch)
        if tensors is not None:
            found = await asyncio.gather(
                *(self.shards.persist(shard, name, number) for shard in self.shards.names)
            )
            slices = [source for part in found for source in part]
            await asyncio.to_thread(check_coverage, tensors, slices)
            await self.ask(self.store.seal, name, number, epoch, slices)
        return await self.ask(self.store.sealed_size, name, number)

    async def commit(self, name: str, number: int, epoch: int) -> Version:
        """Publish a version, then let older ones go."""
        version = await self.ask(self.store.commit, name, number, epoch)
        self._meter.record(VERSIONS_COMMITTED, 1)
        self._notify(name)
        await self.ask(self.store.retention.retain)
        self._sweep.set()
        log.info("committed", set=name, version=number, step=version.step, size=version.size)
        return version

    async def abort(self, name: str, number: int, epoch: int) -> None:
        """Give a version up."""
        await self.ask(self.store.abort, name, number, epoch)
        self._sweep.set()

    async def watch(self, name: str) -> AsyncIterator[Version]:
        """The head now, if there is one, and at every change; each version at most once."""
        seen = 0
        while True:
            changed = self._changed.setdefault(name, asyncio.Event())
            head = await self.ask(self.store.reader.head, name)
            if head is not None and head.number > seen:
                seen = head.number
                yield head
            await changed.wait()

    def _notify(self, name: str) -> None:
        # Whoever waits holds the old event; whoever comes now gets a new one.
        event = self._changed.pop(name, None)
        if event is not None:
            event.set()

    async def _sweeping(self) -> None:
        """Apply retention as pins run out, and tell shards what to forget until they have."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._sweep.wait(), SWEEP_SECONDS)
            self._sweep.clear()
            try:
                await self.ask(self.store.retention.retain)
                for drop in await self.ask(self.store.retention.pending_drops):
                    await self.shards.drop(drop.shard, drop.set, drop.number, drop.groups)
                    await self.ask(self.store.retention.dropped, drop)
            except errors.TesseraError as error:
                log.info("cannot forget yet", reason=error.reason, message=error.message)
