"""Forgets what may go: by what sets keep, by quotas, and where a disk has no room left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import structlog

from tessera import errors
from tessera.background import Background, comes
from tessera.meter import Meter
from tessera.parameters.disk import FULL
from tessera.parameters.metrics import DAMAGED_VERSIONS
from tessera.parameters.quota import RETRY_SECONDS
from tessera.parameters.reconciler import Ask, Reconciler
from tessera.parameters.reserve import Reserve
from tessera.parameters.shards import Shards
from tessera.parameters.store import Store

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")

SWEEP_SECONDS = 15.0
MARGIN_BYTES = 16 * 1024 * 1024
"""Free on each shard's disk beside a new version: manifests, and what others write meanwhile."""


class Sweeper:
    """Tells shards what to forget until they have, again and again; those that are away, later.

    Args:
        store: of the coordinator.
        shards: clients of the shards.
        reconciler: hears from them what is damaged.
        ask: runs the store's methods.
        meter: counts damaged versions.
    """

    def __init__(
        self, store: Store, shards: Shards, reconciler: Reconciler, ask: Ask, meter: Meter
    ) -> None:
        self._store = store
        self._shards = shards
        self._reconciler = reconciler
        self._ask = ask
        self._meter = meter
        self._reserve = Reserve(store.folder)
        self._due = asyncio.Event()
        self._hear_at = 0.0
        self._rounds = Background("sweeper", self._round)

    def start(self) -> None:
        """Begin, inside a running loop."""
        self._rounds.start()

    async def stop(self) -> None:
        """End."""
        await self._rounds.stop()

    def wake(self) -> None:
        """There may be something to forget."""
        self._due.set()

    async def spend(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a method of the store that gives room back, on a full disk too."""
        found: T = await self._ask(self._reserve.spend, lambda: method(*args, **kwargs))
        return found

    async def make_room(self, name: str, size: int) -> None:
        """Let older versions of a tenant go where the shards' disks have no room for a new one.

        Args:
            name: of its set.
            size: bytes of the version, with its copies.

        Raises:
            ResourceExhaustedError: that is not enough (DISK_FULL).
        """
        short = await self._short(size)
        if short > 0:
            await self.spend(self._store.retention.free, name, short)
            await self.tidy()
            short = await self._short(size)
        if short > 0:
            raise errors.ResourceExhaustedError(
                f"a version that takes {size} bytes with its copies finds no room on the shards'"
                f" disks: {short} bytes are missing, and the newest and pinned versions stay; free"
                " some space, delete sets, or publish less",
                reason=FULL,
                retry_after=RETRY_SECONDS,
                metadata={"needed": str(size), "missing": str(short)},
            )

    async def tidy(self) -> None:
        """One round of it, now."""
        await self._ask(self._reserve.make)
        await self.spend(self._store.leases.give_up)
        await self.spend(self._store.retention.retain)
        for drop in await self._ask(self._store.retention.pending_drops):
            if drop.shard in self._shards.fleet().answering:
                await self._shards.drop(drop.shard, drop.set, drop.number, drop.groups)
                await self.spend(self._store.retention.dropped, drop)
        if time.monotonic() < self._hear_at:
            return
        self._hear_at = time.monotonic() + SWEEP_SECONDS
        await self._reconciler.hear()
        damaged = await self._ask(self._store.health.damaged_versions)
        self._meter.record(DAMAGED_VERSIONS, damaged)

    async def _round(self) -> None:
        await comes(self._due, SWEEP_SECONDS)
        self._due.clear()
        try:
            await self.tidy()
        except errors.TesseraError as error:
            log.info("cannot forget yet", reason=error.reason, message=error.message)

    async def _short(self, size: int) -> int:
        """Bytes that have to go from the shards together, so that a version of `size` fits."""
        names = list(self._shards.fleet().nodes)
        free = await asyncio.gather(*map(self._shards.free_bytes, names))
        return len(names) * max(0, size // len(names) + MARGIN_BYTES - min(free, default=0))
