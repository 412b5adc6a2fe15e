"""The life of versions: opened, sealed by all shards, committed, watched, forgotten."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

import structlog

from tessera import errors
from tessera.meter import Meter
from tessera.parameters.copies import Copies
from tessera.parameters.holding import Verified
from tessera.parameters.metrics import VERSIONS_COMMITTED
from tessera.parameters.piece import distinct, pieces_of
from tessera.parameters.quota import TenantQuota, tenant_of
from tessera.parameters.reconciler import Reconciler
from tessera.parameters.shards import Shards
from tessera.parameters.store import Store
from tessera.parameters.sweeper import Sweeper
from tessera.parameters.writer import Writer
from tessera.weights.coverage import check_coverage
from tessera.weights.manifest import Grant, HeadMove, ShardAddress, TensorSpec, Version
from tessera.weights.push_digest import push_digest
from tessera.weights.slice_table import SliceTable
from tessera.weights.tensor_list import group_sizes

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")

PROGRESS_SECONDS = 0.5


class Versions:
    """The coordinator without its transport.

    Args:
        store: what is durable; it is used on one thread of its own, since each of its transactions
            waits for the disk.
        shards: clients of the shards.
        meter: counts commits.
        quota: of each tenant.
        replicas: shards that should have each piece of a version; 0: two on different nodes.
    """

    def __init__(
        self, store: Store, shards: Shards, meter: Meter, quota: TenantQuota, replicas: int = 0
    ) -> None:
        self.store = store
        self._quota = quota
        self._watchers: Counter[str] = Counter()
        self.shards = shards
        self._meter = meter
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._changed: dict[str, asyncio.Event] = {}
        self.copies = Copies(store, shards, self.ask, replicas, meter)
        self._reconciler = Reconciler(store, shards, self._on_thread, self.copies.wake)
        self.sweeper = Sweeper(store, shards, self._reconciler, self.ask, meter)

    async def start(self) -> None:
        """Begin to know what the shards know, and to forget what may go."""
        await self._reconciler.start()
        self.sweeper.start()
        self.copies.start()

    async def stop(self) -> None:
        """End all work and close the store."""
        await self._reconciler.stop()
        await self.sweeper.stop()
        await self.copies.stop()
        self._thread.shutdown()
        self.store.close()
        await self.shards.close()

    async def ask(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a method of the store on its thread, as soon as it knows what there is.

        Raises:
            UnavailableError: it does not yet, since shards are away (RECOVERING).
        """
        await self._reconciler.known()
        return await self._on_thread(method, *args, **kwargs)

    async def acquire(self, name: str, job: str, attempt: int, keep: int, holder: str) -> Grant:
        """Make an attempt the writer of a set; what it resumes from is whole on every shard."""
        await self._reconciler.known()
        await self._reconciler.examine(name)
        return await self.ask(self.store.acquire, name, job, attempt, keep, holder)

    async def open(
        self,
        writer: Writer,
        step: int,
        tensors: Sequence[TensorSpec],
        assets: Mapping[str, bytes],
        labels: Mapping[str, str],
    ) -> tuple[int, list[ShardAddress]]:
        """Begin a version; returns its number and the shards that it goes to.

        Shards that are away for a moment are waited for, others are not.
        """
        await self._reconciler.done()
        addresses = await self.shards.targets()
        size = sum(group_sizes(tensors).values())
        # First who it is: nothing goes for somebody who may not write.
        await self.ask(self.store.check_open, writer, size)
        await self.sweeper.make_room(writer.set, size * self.copies.wanted)
        names = [shard.name for shard in addresses]
        number = await self.ask(
            self.store.open, writer, step, tensors, assets, labels, shards=names
        )
        self.sweeper.wake()
        return number, addresses

    async def seal(
        self,
        writer: Writer,
        number: int,
        digest: int | None = None,
        tell: Callable[[int], None] = lambda _: None,
    ) -> tuple[int, int]:
        """Make a version durable on every shard and check it; returns slices and bytes.

        Args:
            writer: of the set.
            number: of the version.
            digest: of what the writer pushed; None: it does not say.
            tell: hears how many bytes are durable so far.

        Raises:
            FailedPreconditionError: it is not whole (INCOMPLETE, OVERLAP …), not what the writer
                pushed (DIGEST_MISMATCH), or FENCED.
        """
        unsealed = await self.ask(self.store.unsealed, writer, number)
        if unsealed is not None:
            tensors, shards = unsealed
            written: dict[str, int] = {}

            def heard(shard: str, size: int) -> None:
                written[shard] = size
                tell(sum(written.values()))

            found = await asyncio.gather(
                *(
                    self.shards.persist(shard, writer.set, number, partial(heard, shard))
                    for shard in shards
                )
            )
            slices = SliceTable.join(found)
            once = await asyncio.to_thread(distinct, slices)
            await asyncio.to_thread(check_coverage, tensors, once)
            if digest is not None:
                await asyncio.to_thread(_check_digest, f"{writer.set}@{number}", once, digest)
            pieces = await asyncio.to_thread(pieces_of, tensors, slices)
            pieces = await self.copies.of_new((writer.set, number), pieces)
            await self.ask(self.store.seal, writer, number, once, pieces)
            self.sweeper.wake()
        return await self.ask(self.store.sealed_size, writer.set, number)

    async def commit(self, writer: Writer, number: int) -> Version:
        """Publish a version, then let older ones go.

        Shards keep its manifest first: what anybody has seen as committed, they can tell again.
        """
        record = await self.ask(self.store.record, writer, number)
        if record is not None:
            keep = await self._keepers((writer.set, number))
            await asyncio.gather(*(self.shards.record(name, record) for name in keep))
        version = await self.ask(self.store.commit, writer, number, record)
        self._meter.record(VERSIONS_COMMITTED, 1)
        self._notify(writer.set)
        await self.ask(self.store.retention.retain)
        self.sweeper.wake()
        log.info("committed", set=writer.set, version=number, step=version.step, size=version.size)
        return version

    async def abort(self, writer: Writer, number: int) -> None:
        """Give a version up."""
        await self.sweeper.spend(self.store.abort, writer, number)
        self.sweeper.wake()

    async def roll_back(self, name: str, number: int, mover: str) -> HeadMove:
        """Make a committed version the head again.

        Shards keep the move first, as they do with a commit.
        """
        move, new = await self.ask(self.store.heads.begin, name, number, mover)
        if new:
            keep = await self._keepers((name, number))
            await asyncio.gather(*(self.shards.record_head(shard, name, move) for shard in keep))
            await self.ask(self.store.heads.finish, name, move)
            self._notify(name)
            log.info("rolled back", set=name, version=number, mover=mover)
        return move

    async def delete(self, name: str, *, force: bool) -> tuple[int, int]:
        """Drop all versions of a set, and the set; returns how many, and their bytes."""
        found = await self.sweeper.spend(self.store.deletion.delete, name, force=force)
        self._notify(name)
        self.sweeper.wake()
        log.info("deleted", set=name, versions=found[0], size=found[1])
        return found

    async def verify(self, name: str, number: int) -> AsyncIterator[tuple[int, Verified]]:
        """Have all of a version read and held against its checksums; yields its number, how far.

        Args:
            name: of the set.
            number: of the version; 0: the newest.

        Raises:
            NotFoundError: there is none.
            UnavailableError: a shard is away (SHARD_UNAVAILABLE).
        """
        version = await self.ask(self.store.reader.version, name, number)
        parts: dict[str, Verified] = {}

        async def follow(shard: str) -> None:
            async for part in self.shards.verify(shard, name, version.number):
                parts[shard] = part

        shards = {shard for one in await self._pieces((name, version.number)) for shard in one}
        pending = {asyncio.create_task(follow(shard)) for shard in shards}
        try:
            while pending:
                done, pending = await asyncio.wait(pending, timeout=PROGRESS_SECONDS)
                for task in done:
                    task.result()
                yield version.number, Verified.together(parts.values())
        finally:
            for task in pending:
                task.cancel()
        for shard, part in parts.items():
            damage = part.damage[shard]
            await self.ask(self.store.health.verified, name, version.number, shard, damage)

    async def watch(self, name: str) -> AsyncIterator[tuple[Version, int]]:
        """The head now, if there is one, and at every move, with the number of the move.

        Raises:
            NotFoundError: there is no such set (SET_NOT_FOUND).
            ResourceExhaustedError: the tenant has too many watchers (QUOTA_EXCEEDED).
        """
        tenant = tenant_of(name)
        self._quota.check("watchers", tenant, self._watchers[tenant])
        self._watchers[tenant] += 1
        try:
            # Nothing is kept for a name before there is a set of that name.
            await self.ask(self.store.heads.head, name)
            async for head in self._heads(name):
                yield head
        finally:
            self._watchers[tenant] -= 1
            if not self._watchers[tenant]:
                del self._watchers[tenant]

    async def _heads(self, name: str) -> AsyncIterator[tuple[Version, int]]:
        seen = -1
        while True:
            changed = self._changed.setdefault(name, asyncio.Event())
            head, move = await self.ask(self.store.heads.head, name)
            if head is not None and move != seen:
                seen = move
                yield head, move
            await changed.wait()

    async def holders(self, key: tuple[str, int]) -> dict[str, list[str]]:
        """Shards by piece of a version, in the order in which readers ask: who is away, last."""
        there = self.shards.fleet().answering
        found = await self.ask(self.store.holders.of, *key)
        return {
            piece: sorted(shards, key=lambda shard: shard not in there)
            for piece, shards in found.items()
        }

    async def drain(self, shard: str, *, draining: bool) -> None:
        """Let a shard take nothing new, and copy what it has to others; or let it take part again.

        Raises:
            NotFoundError: there is none of that name (SHARD_NOT_FOUND).
            FailedPreconditionError: it is the last one that takes anything (LAST_SHARD).
        """
        await self.ask(self.store.members.drain, shard, draining=draining)
        await self._reconciler.members()
        self.copies.wake()
        log.info("draining" if draining else "taking part again", shard=shard)

    async def remove(self, shard: str) -> None:
        """Forget a shard that is drained; raises as `Members.remove` does."""
        await self.ask(self.store.members.remove, shard)
        await self._reconciler.members()
        log.info("removed", shard=shard)

    async def _pieces(self, key: tuple[str, int]) -> list[tuple[str, ...]]:
        """The holders of each piece of a version."""
        return [one.holders for one in await self.ask(self.store.holders.pieces, key)]

    async def _keepers(self, key: tuple[str, int]) -> list[str]:
        """Shards that keep what is to be known of a version when the coordinator's folder is lost.

        Those that are away may be left out where each piece has a holder among the others; they
        hear of it when they come.
        """
        await self.shards.refresh()
        there = self.shards.fleet().answering
        if all(there.intersection(holders) for holders in await self._pieces(key)):
            return sorted(there)
        return list(self.shards.names)

    def _notify(self, name: str) -> None:
        # Whoever waits holds the old event; whoever comes now gets a new one.
        event = self._changed.pop(name, None)
        if event is not None:
            event.set()

    async def _on_thread(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: method(*args, **kwargs))


def _check_digest(version: str, slices: SliceTable, digest: int) -> None:
    """Raise unless shards have what the writer pushed, and nothing else."""
    columns = slices.columns
    if push_digest(columns.tensors, columns.boxes, columns.views, columns.checksums) != digest:
        raise errors.FailedPreconditionError(
            f"the shards have something else of {version} than its writer says it pushed"
            f" ({len(slices)} slices, {slices.size} bytes); open another version and push again",
            reason="DIGEST_MISMATCH",
        )
