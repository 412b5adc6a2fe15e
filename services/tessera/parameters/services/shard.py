"""ShardService: control of a shard, called by the coordinator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from tessera import errors
from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.api.parameters.v1 import shard_pb2_grpc as pb_grpc
from tessera.api.parameters.v1.manifest_pb2 import VERSION_STATE_COMMITTED
from tessera.dtypes import element_size
from tessera.meter import Meter
from tessera.parameters.copier import Copier, WantedPiece
from tessera.parameters.damage import Damage
from tessera.parameters.disk import disk_errors
from tessera.parameters.inbox import Inbox
from tessera.parameters.metrics import DISK_BYTES
from tessera.parameters.operations import Operations
from tessera.parameters.reserve import Reserve
from tessera.parameters.scrubber import advance
from tessera.parameters.slice_store import Key, SliceStore
from tessera.parameters.store_id import StoreId
from tessera.parameters.version_folder import VersionFolder
from tessera.parameters.version_record import VersionRecord
from tessera.weights.manifest import Manifest, SliceSpec
from tessera.weights.messages import (
    head_move_from_pb,
    head_move_to_pb,
    manifest_from_pb,
    manifest_to_pb,
    shards_from_pb,
    slice_to_pb,
)
from tessera.weights.table_messages import table_to_pb

NAME = pb.DESCRIPTOR.services_by_name["ShardService"].full_name

PROGRESS_BYTES = 64 * 1024 * 1024
"""How much is verified between two messages."""


class ShardControl(pb_grpc.ShardServiceServicer):
    """Makes pushes durable, and forgets and verifies versions; disk work is done on threads.

    Args:
        name: of the shard.
        inbox: what has been pushed.
        store: what is durable.
        owner: whose store it is.
        copier: gets pieces from other shards.
        reserve: room for what gives room back.
        meter: counts bytes.
    """

    def __init__(  # noqa: PLR0917 - what a shard is made of
        self,
        name: str,
        inbox: Inbox,
        store: SliceStore,
        owner: StoreId,
        copier: Copier,
        reserve: Reserve,
        meter: Meter,
    ) -> None:
        self._name = name
        self._inbox = inbox
        self._store = store
        self._owner = owner
        self._meter = meter
        self._copier = copier
        self._reserve = reserve
        self._persists: Operations[list[SliceSpec]] = Operations()
        self._copies: Operations[list[Damage]] = Operations()

    async def close(self) -> None:
        """End what goes on between calls."""
        await self._persists.close()
        await self._copies.close()

    async def PersistVersion(
        self, request: pb.PersistVersionRequest, context: Any
    ) -> pb.PersistVersionResponse:
        """Make what has arrived durable."""
        del context
        key = (request.set, request.version)
        polled = await self._persists.poll(
            (key, request.store), lambda _: asyncio.to_thread(self._persist, request)
        )
        folder = self._store.held(request.set).get(key)
        written = folder.size if folder else 0
        if polled.result is None:
            return pb.PersistVersionResponse(pending=True, written=written)
        self._meter.record(DISK_BYTES, self._store.disk_bytes)
        if request.tables:
            tables = [table_to_pb(polled.result)]
            return pb.PersistVersionResponse(tables=tables, written=written)
        slices = [slice_to_pb(source) for source in polled.result]
        return pb.PersistVersionResponse(slices=slices, written=written)

    async def CopyPieces(
        self, request: pb.CopyPiecesRequest, context: Any
    ) -> pb.CopyPiecesResponse:
        """Get pieces from other shards."""
        del context
        asked = request.SerializeToString(deterministic=True)
        polled = await self._copies.poll(
            asked, lambda tell: asyncio.to_thread(self._copy, request, tell)
        )
        if polled.result is None:
            return pb.CopyPiecesResponse(pending=True, copied=polled.done)
        self._meter.record(DISK_BYTES, self._store.disk_bytes)
        return pb.CopyPiecesResponse(copied=polled.done, failed=map(_damage_to_pb, polled.result))

    async def RecordVersion(
        self, request: pb.RecordVersionRequest, context: Any
    ) -> pb.RecordVersionResponse:
        """Keep the manifest of a committed version."""
        del context
        await asyncio.to_thread(self._record, request)
        return pb.RecordVersionResponse()

    async def RecordHead(
        self, request: pb.RecordHeadRequest, context: Any
    ) -> pb.RecordHeadResponse:
        """Keep a rollback."""
        del context
        await asyncio.to_thread(self._record_head, request)
        return pb.RecordHeadResponse()

    async def DropVersion(
        self, request: pb.DropVersionRequest, context: Any
    ) -> pb.DropVersionResponse:
        """Forget a version, or groups of it."""
        del context
        size = await asyncio.to_thread(self._drop, request)
        self._meter.record(DISK_BYTES, self._store.disk_bytes)
        return pb.DropVersionResponse(size=size)

    async def ListHeld(self, request: pb.ListHeldRequest, context: Any) -> pb.ListHeldResponse:
        """Tell what the shard holds."""
        del context
        return await asyncio.to_thread(self._held, request)

    async def ReadHeld(self, request: pb.ReadHeldRequest, context: Any) -> pb.ReadHeldResponse:
        """Tell what the shard knows of a version."""
        del context
        return await asyncio.to_thread(self._read, (request.set, request.version))

    async def VerifyHeld(
        self, request: pb.VerifyHeldRequest, context: Any
    ) -> AsyncIterator[pb.VerifyHeldResponse]:
        """Read all of a version."""
        del context
        key = (request.set, request.version)
        parts, verified, more = self._store.verify(key), 0, True
        while more:
            read, more = await asyncio.to_thread(advance, parts, PROGRESS_BYTES)
            verified += read
            folder = self._store.held(request.set).get(key)
            yield pb.VerifyHeldResponse(
                verified=verified,
                size=folder.size if folder else 0,
                damage=_damage(folder) if folder else [],
            )

    async def GetShardStatus(
        self, request: pb.GetShardStatusRequest, context: Any
    ) -> pb.GetShardStatusResponse:
        """Tell how much the shard holds."""
        del request, context
        return pb.GetShardStatusResponse(
            name=self._name,
            disk_bytes=self._store.disk_bytes,
            memory_bytes=self._inbox.memory_bytes,
            versions=self._store.versions,
            store=self._owner.value,
            damaged_versions=self._store.damaged_versions,
            free_bytes=self._store.vault.free_bytes,
        )

    def _persist(self, request: pb.PersistVersionRequest) -> list[SliceSpec]:
        with disk_errors():
            self._owner.require(request.store)
            return self._inbox.persist((request.set, request.version))

    def _copy(self, request: pb.CopyPiecesRequest, tell: Callable[[int], None]) -> list[Damage]:
        wanted = [
            WantedPiece(
                name=source.piece,
                digest=f"{source.checksum:016x}",
                sources=shards_from_pb(source.shards),
            )
            for source in request.pieces
        ]
        with disk_errors():
            self._owner.require(request.store)
            return self._copier.copy((request.set, request.version), wanted, tell)

    def _record(self, request: pb.RecordVersionRequest) -> None:
        record = VersionRecord(
            manifest=_manifest(request), keep=request.keep, sequence=request.sequence
        )
        with disk_errors():
            self._owner.require(request.store)
            self._store.record((request.set, record.manifest.version.number), record)

    def _record_head(self, request: pb.RecordHeadRequest) -> None:
        with disk_errors():
            self._owner.require(request.store)
            self._store.record_head(request.set, head_move_from_pb(request.move))

    def _drop(self, request: pb.DropVersionRequest) -> int:
        def drop() -> int:
            with disk_errors():
                return self._inbox.drop((request.set, request.version), list(request.groups))

        with disk_errors():
            self._owner.require(request.store)
        return self._reserve.spend(drop)

    def _held(self, request: pb.ListHeldRequest) -> pb.ListHeldResponse:
        if request.store:
            with disk_errors():
                self._owner.claim(request.store)
        folders = self._store.held(request.set)
        if request.check:
            for folder in folders.values():
                folder.check()
        highest, marks, heads = self._store.highest(), self._inbox.marks(), self._store.heads()
        sets = {}
        for name in sorted({*highest, *marks, *heads}):
            epoch, number = marks.get(name, (0, 0))
            number = max(number, highest.get(name, 0))
            if request.set in {"", name}:
                move = head_move_to_pb(heads[name]) if name in heads else None
                sets[name] = pb.HeldSet(name=name, epoch=epoch, number=number, head=move)
        for (name, number), folder in sorted(folders.items()):
            damage = _damage(folder)
            if name in sets and (damage or not request.damaged_only):
                pieces = [piece.name for piece in folder.pieces] if request.check else ()
                sets[name].versions.append(
                    pb.HeldVersion(
                        number=number, recorded=folder.recorded, damage=damage, pieces=pieces
                    )
                )
        return pb.ListHeldResponse(store=self._owner.value, sets=sets.values())

    def _read(self, key: Key) -> pb.ReadHeldResponse:
        if self._store.was_dropped(key):
            return pb.ReadHeldResponse(dropped=True)
        try:
            record = self._store.read(key)
        except errors.DataLossError:
            record = None
        return pb.ReadHeldResponse(
            manifest=manifest_to_pb(record.manifest) if record else None,
            keep=record.keep if record else 0,
            sequence=record.sequence if record else 0,
            slices=[slice_to_pb(source) for source in self._store.slices(key)],
        )


def _manifest(request: pb.RecordVersionRequest) -> Manifest:
    """The manifest of a committed version, without slices.

    Raises:
        InvalidArgumentError: it is none (INVALID_MANIFEST, INVALID_TENSOR).
    """
    version = request.manifest.version
    if version.state != VERSION_STATE_COMMITTED or version.set != request.set:
        raise errors.InvalidArgumentError.at(
            "manifest.version", "it must be a committed version of the set", "INVALID_MANIFEST"
        )
    del request.manifest.slices[:]
    del request.manifest.tables[:]
    for index, tensor in enumerate(request.manifest.tensors):
        element_size(tensor.dtype)
        if min(tensor.shape[:], default=0) < 0:
            field = f"manifest.tensors[{index}].shape"
            raise errors.InvalidArgumentError.at(field, "it is negative", "INVALID_TENSOR")
    return manifest_from_pb(request.manifest)


def _damage(folder: VersionFolder) -> list[pb.Damage]:
    return list(map(_damage_to_pb, folder.damage))


def _damage_to_pb(damage: Damage) -> pb.Damage:
    return pb.Damage(group=damage.group, reason=damage.reason, text=damage.text, piece=damage.piece)
