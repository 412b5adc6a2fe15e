"""Makes copies of pieces on further shards: of new versions, and where some were lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from tessera import errors
from tessera.background import Background, comes
from tessera.meter import Meter
from tessera.parameters.holders import Key
from tessera.parameters.metrics import LACKING_VERSIONS
from tessera.parameters.piece import HeldPiece, PieceSpec
from tessera.parameters.reconciler import Ask
from tessera.parameters.shards import Shards
from tessera.parameters.spread import Copy, default_replicas, missing_copies
from tessera.parameters.store import Store

log = structlog.get_logger()

CHECK_SECONDS = 60.0
"""Between two looks where nobody says that there may be something to do."""


class Copies:
    """Has shards copy pieces from each other.

    Args:
        store: of the coordinator.
        shards: clients of the shards.
        ask: runs the store's methods.
        replicas: shards that should have each piece; 0: two if there are two nodes, else one.
        meter: counts versions that lack copies.
    """

    def __init__(self, store: Store, shards: Shards, ask: Ask, replicas: int, meter: Meter) -> None:
        self._store = store
        self._shards = shards
        self._ask = ask
        self._replicas = replicas
        self._meter = meter
        self._mending = asyncio.Lock()
        self._due = asyncio.Event()
        self._rounds = Background("copies", self._round)

    def start(self) -> None:
        """Begin to look after them, inside a running loop."""
        self._rounds.start()

    async def stop(self) -> None:
        """End."""
        await self._rounds.stop()

    def wake(self) -> None:
        """Something may be damaged, or a shard may have come or gone."""
        self._due.set()

    @property
    def wanted(self) -> int:
        """Shards that should have each piece."""
        return self._replicas or default_replicas(self._shards.fleet().nodes.values())

    async def of_new(
        self, key: Key, pieces: Sequence[tuple[PieceSpec, tuple[str, ...]]]
    ) -> list[tuple[PieceSpec, tuple[str, ...]]]:
        """Copy the pieces of a version that was just made durable; returns who has them now.

        A shard that does not take its copies costs the version nothing: others, or the same one,
        are asked again when it is committed.
        """
        held = [
            HeldPiece(piece=piece, holders=shards, damaged=frozenset()) for piece, shards in pieces
        ]
        made: dict[str, tuple[str, ...]] = {}
        for shard, copied in (await self._copy(key, self._plan(held))).items():
            for piece in copied:
                made[piece.name] = (*made.get(piece.name, ()), shard)
        return [(piece, (*shards, *made.get(piece.name, ()))) for piece, shards in pieces]

    async def mend(self) -> None:
        """One round: every committed version gets the copies that it lacks, if there are any."""
        async with self._mending:
            await self._mend()

    async def _mend(self) -> None:
        await self._shards.refresh()
        lacking = await self._lacking()
        for key in lacking:
            plan = self._plan(await self._ask(self._store.holders.pieces, key))
            for shard, copied in (await self._copy(key, plan)).items():
                await self._ask(self._store.holders.copied, key, copied, shard)
                if len(copied) == len(plan[shard]):
                    await self._ask(self._store.holders.complete, key, shard)
                    await self._record(key, shard)
                log.info("copied", set=key[0], version=key[1], shard=shard, pieces=len(copied))
        self._meter.record(LACKING_VERSIONS, len(await self._lacking() if lacking else ()))

    async def _round(self) -> None:
        await comes(self._due, CHECK_SECONDS)
        self._due.clear()
        try:
            await self.mend()
        except errors.TesseraError as error:
            log.info("cannot copy yet", reason=error.reason, message=error.message)

    async def _lacking(self) -> list[Key]:
        counted = self._shards.fleet().counted
        found: list[Key] = await self._ask(self._store.holders.lacking, counted, self.wanted)
        return found

    def _plan(self, held: Sequence[HeldPiece]) -> dict[str, list[Copy]]:
        return missing_copies(held, self._shards.fleet(), self.wanted)

    async def _copy(
        self, key: Key, plan: Mapping[str, Sequence[Copy]]
    ) -> dict[str, list[PieceSpec]]:
        """Have every shard copy what it should; returns what each has now."""
        done = await asyncio.gather(*(self._to(key, shard, plan[shard]) for shard in plan))
        return dict(zip(plan, done, strict=True))

    async def _to(self, key: Key, shard: str, copies: Sequence[Copy]) -> list[PieceSpec]:
        try:
            failed = await self._shards.copy(shard, *key, copies)
        except errors.TesseraError as error:
            log.warning("not copied", shard=shard, reason=error.reason, message=error.message)
            return []
        for damage in failed:
            log.warning("not copied", shard=shard, reason=damage.reason, message=damage.text)
        without = {damage.piece for damage in failed}
        return [copy.piece.piece for copy in copies if copy.piece.piece.name not in without]

    async def _record(self, key: Key, shard: str) -> None:
        """Let a shard that had lost it have the manifest of a committed version, too."""
        try:
            record = await self._ask(self._store.committed_record, *key)
            await self._shards.record(shard, record)
        except (errors.NotFoundError, errors.UnavailableError) as error:
            log.debug("no manifest for it", reason=error.reason, message=error.message)
