"""ReplicaService: steers the replica."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.api.inference.v1 import inference_pb2_grpc as pb_grpc
from tessera.inference.state import ReplicaState
from tessera.inference.weights import digest
from tessera.models.buffers import kept_tensors
from tessera.weights.box import Box


class ReplicaService(pb_grpc.ReplicaServiceServicer):
    """Steers the replica.

    Args:
        state: of the replica.
    """

    def __init__(self, state: ReplicaState) -> None:
        self._state = state

    async def GetReplicaStatus(
        self, _request: pb.GetReplicaStatusRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetReplicaStatusResponse:
        """Tell state and load."""
        engine = self._state.engine
        status = None if engine is None else engine.status()
        return pb.GetReplicaStatusResponse(
            state=pb.ReplicaState.Value(f"REPLICA_STATE_{self._state.phase.name}"),
            version=status.version if status else 0,
            running=status.running if status else 0,
            waiting=status.waiting if status else 0,
            free_blocks=status.free_blocks if status else 0,
            total_blocks=status.total_blocks if status else 0,
            message=self._state.message,
            corrupted_requests=status.corrupted if status else 0,
            lag=self._state.lag,
        )

    async def GetDigests(
        self, request: pb.GetDigestsRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetDigestsResponse:
        """Hash the weights that are active now, as they lie in memory."""
        model = self._state.ready_engine().active
        tensors = kept_tensors(model.module)
        boxes = list(request.boxes) or [
            pb.DigestQuery(tensor=name, offsets=[0] * held.dim(), extents=list(held.shape))
            for name, held in tensors.items()
        ]
        checked = [_box(tensors, index, query) for index, query in enumerate(boxes)]

        def hashes() -> list[int]:
            return [
                digest(tensors[query.tensor], box)
                for query, box in zip(boxes, checked, strict=True)
            ]

        found = await asyncio.to_thread(hashes)
        return pb.GetDigestsResponse(
            version=model.version,
            digests=[
                pb.Digest(box=query, checksum=value)
                for query, value in zip(boxes, found, strict=True)
            ],
        )

    async def Drain(
        self, _request: pb.DrainRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.DrainResponse:
        """Refuse what is new; return when what runs has ended."""
        await self._state.drain()
        return pb.DrainResponse()


def _box(tensors: dict[str, Any], index: int, query: pb.DigestQuery) -> Box:
    if query.tensor not in tensors:
        raise errors.InvalidArgumentError.at(
            f"boxes[{index}].tensor", f"there is no tensor `{query.tensor}`", "TENSOR_NOT_FOUND"
        )
    shape = tuple(tensors[query.tensor].shape)
    try:
        box = Box(tuple(query.offsets), tuple(query.extents))
    except ValueError as error:
        raise errors.InvalidArgumentError.at(f"boxes[{index}]", str(error), "INVALID_BOX") from None
    if not Box.whole(shape).contains(box):
        raise errors.InvalidArgumentError.at(
            f"boxes[{index}]", f"it is outside of the shape {shape}", "INVALID_BOX"
        )
    return box
