"""ShardService: control of a shard, called by the coordinator."""

from __future__ import annotations

import asyncio
from typing import Any

from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.api.parameters.v1 import shard_pb2_grpc as pb_grpc
from tessera.meter import Meter
from tessera.parameters.disk import disk_errors
from tessera.parameters.inbox import Inbox
from tessera.parameters.metrics import DISK_BYTES
from tessera.parameters.slice_store import SliceStore
from tessera.weights.manifest import SliceSpec
from tessera.weights.messages import slice_to_pb

NAME = pb.DESCRIPTOR.services_by_name["ShardService"].full_name


class ShardControl(pb_grpc.ShardServiceServicer):
    """Makes pushes durable and forgets versions; disk work is done on threads."""

    def __init__(self, name: str, inbox: Inbox, store: SliceStore, meter: Meter) -> None:
        self._name = name
        self._inbox = inbox
        self._store = store
        self._meter = meter

    async def PersistVersion(
        self, request: pb.PersistVersionRequest, context: Any
    ) -> pb.PersistVersionResponse:
        """Make what has arrived durable."""
        del context
        slices = await asyncio.to_thread(self._persist, request.set, request.version)
        self._meter.record(DISK_BYTES, self._store.disk_bytes)
        return pb.PersistVersionResponse(slices=[slice_to_pb(source) for source in slices])

    async def DropVersion(
        self, request: pb.DropVersionRequest, context: Any
    ) -> pb.DropVersionResponse:
        """Forget a version, or groups of it."""
        del context
        size = await asyncio.to_thread(
            self._drop, request.set, request.version, list(request.groups)
        )
        self._meter.record(DISK_BYTES, self._store.disk_bytes)
        return pb.DropVersionResponse(size=size)

    async def GetShardStatus(
        self, request: pb.GetShardStatusRequest, context: Any
    ) -> pb.GetShardStatusResponse:
        """Tell what the shard holds."""
        del request, context
        return pb.GetShardStatusResponse(
            name=self._name,
            disk_bytes=self._store.disk_bytes,
            memory_bytes=self._inbox.memory_bytes,
            versions=self._store.versions,
        )

    def _persist(self, name: str, version: int) -> list[SliceSpec]:
        with disk_errors():
            return self._inbox.persist((name, version))

    def _drop(self, name: str, version: int, groups: list[str]) -> int:
        return self._inbox.drop((name, version), groups)
