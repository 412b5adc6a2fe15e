"""ShardDataService: bulk streams on threads, in messages that `tessera.weights.wire` packs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from tessera import errors
from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.meter import Meter
from tessera.parameters.disk import disk_errors
from tessera.parameters.inbox import Inbox, Target
from tessera.parameters.lane import Lane
from tessera.parameters.metrics import PULLED_BYTES, PUSHED_BYTES
from tessera.parameters.piece_stream import piece_messages
from tessera.parameters.push_grant import GrantVerifier
from tessera.parameters.push_headers import announced
from tessera.parameters.push_stream import PushStream
from tessera.parameters.reading import Item, Reading, SliceRun
from tessera.parameters.shared_memory import SharedMemory
from tessera.parameters.slice_store import SliceStore
from tessera.parameters.store_id import StoreId
from tessera.weights import wire
from tessera.weights.box import Box
from tessera.weights.messages import box_from_pb

NAME = pb.DESCRIPTOR.services_by_name["ShardDataService"].full_name


class ShardData:
    """Stores what ranks push, and serves what readers pull.

    Args:
        name: of the shard.
        inbox: where pushes go.
        grants: tell what may be pushed.
        store: where pulls come from.
        owner: whose store it is.
        lane: hands files over to readers of this host.
        meter: counts bytes.
    """

    def __init__(  # noqa: PLR0917 - what a shard is made of
        self,
        name: str,
        inbox: Inbox,
        grants: GrantVerifier,
        store: SliceStore,
        owner: StoreId,
        lane: Lane,
        meter: Meter,
    ) -> None:
        self._lane = lane
        self._name = name
        self._owner = owner
        self._grants = grants
        self._inbox = inbox
        self._store = store
        self._meter = meter

    def register(self, server: Any) -> None:
        """Add the service to a server."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "PushSlices": grpc.stream_unary_rpc_method_handler(
                self.push, pb.PushSlicesRequest.FromString, pb.PushSlicesResponse.SerializeToString
            ),
            "PullSlices": grpc.unary_stream_rpc_method_handler(
                self.pull, pb.PullSlicesRequest.FromString, wire.serialize
            ),
            "PullPiece": grpc.unary_stream_rpc_method_handler(
                self.pull_piece, pb.PullPieceRequest.FromString, wire.serialize
            ),
            "OpenPieces": grpc.unary_unary_rpc_method_handler(
                self.open, pb.OpenPiecesRequest.FromString, pb.OpenPiecesResponse.SerializeToString
            ),
            "ShareMemory": grpc.unary_unary_rpc_method_handler(
                self.share,
                pb.ShareMemoryRequest.FromString,
                pb.ShareMemoryResponse.SerializeToString,
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))

    def push(self, requests: Iterator[Any], context: Any) -> pb.PushSlicesResponse:
        """Store a stream of slices: a parsed message with their target, then bytes of the rest."""
        del context
        first = next(requests)
        if first.WhichOneof("content") != "target":
            raise errors.InvalidArgumentError.at(
                "target",
                "the first message of a push must name set, rank and grant",
                "BAD_TARGET",
            )
        target = self._target(first.target)
        pushed = PushStream(self._inbox, target, self._name)
        try:
            with disk_errors(), self._lane.memory(target.set) as memory:
                for message in requests:
                    _receive(pushed, message, memory)
                size = pushed.finish()
        except BaseException:
            pushed.discard()
            raise
        self._meter.record(PUSHED_BYTES, size)
        return pb.PushSlicesResponse(size=size)

    def _target(self, target: pb.PushTarget) -> Target:
        """What a stream writes to: version and epoch are the coordinator's to say alone."""
        grant = self._grants.verify(target.grant)
        if grant.set != target.set:
            raise errors.PermissionDeniedError(
                f"the grant is for another set than {target.set!r}", reason="GRANT_INVALID"
            )
        self._owner.require(grant.store)
        return Target(set=grant.set, version=grant.version, epoch=grant.epoch, rank=target.rank)

    def pull_piece(
        self, request: pb.PullPieceRequest, context: Any
    ) -> Iterator[bytes | pb.PullPieceResponse]:
        """Send a whole piece to another shard."""
        del context
        key = (request.set, request.version)
        piece = self._store.piece(key, request.piece)
        try:
            yield from piece_messages(piece)
        except errors.DataLossError as error:
            self._store.note(key, piece, error)
            raise
        self._meter.record(PULLED_BYTES, piece.size)

    def pull(
        self, request: pb.PullSlicesRequest, context: Any
    ) -> Iterator[bytes | pb.PullSlicesResponse]:
        """Send boxes of slices."""
        del context
        items = [_item(message) for message in request.items]
        runs = [SliceRun(piece=run.piece, offsets=run.offsets) for run in request.runs]
        reading = Reading(self._store, (request.set, request.version), items, runs)
        yield from wire.chunks(reading.blocks(), wire.PULL_DATA)
        self._meter.record(PULLED_BYTES, reading.size)
        yield pb.PullSlicesResponse(checksums=pb.PullChecksums(checksums=reading.checksums))

    def open(self, request: pb.OpenPiecesRequest, context: Any) -> pb.OpenPiecesResponse:
        """Offer pieces as files."""
        del context
        key = (request.set, request.version)
        held = sum(self._store.piece(key, name).size for name in request.pieces)
        ticket, address = self._lane.offer(key, request.pieces, request.boot_id)
        self._meter.record(PULLED_BYTES, min(request.size, held))
        return pb.OpenPiecesResponse(
            ticket=ticket, path=address.path, device=address.device, inode=address.inode
        )

    def share(self, request: pb.ShareMemoryRequest, context: Any) -> pb.ShareMemoryResponse:
        """Offer to take memory of a push."""
        del context
        ticket, address = self._lane.share(self._target(request.target).set, request.boot_id)
        return pb.ShareMemoryResponse(
            ticket=ticket, path=address.path, device=address.device, inode=address.inode
        )


def _receive(pushed: PushStream, message: bytes, memory: SharedMemory) -> None:
    data = wire.payload(wire.PUSH_DATA, message)
    if data is not None:
        pushed.take(data)
        return
    try:
        request = pb.PushSlicesRequest.FromString(message)
    except DecodeError:
        raise errors.InvalidArgumentError(
            f"these {len(message)} bytes are no part of a push", reason="MALFORMED_MESSAGE"
        ) from None
    match request.WhichOneof("content"):
        case "headers":
            pushed.announce(announced(request.headers))
        case "data":
            pushed.take(np.frombuffer(request.data, np.uint8))
        case "memory":
            for part in memory.read(request.memory.ticket, request.memory.size):
                pushed.take(part)
        case _:
            raise errors.InvalidArgumentError(
                "a push is its target, then headers and data", reason="BAD_MESSAGE"
            )


def _item(message: pb.PullItem) -> Item:
    extents = tuple(message.extents)
    if any(extent < 0 for extent in extents):
        raise errors.InvalidArgumentError("negative extent in an item", reason="BAD_ITEM")
    return Item(
        piece=message.piece,
        offset=message.offset,
        extents=extents,
        element_size=message.element_size,
        box=box_from_pb(message.box) if message.HasField("box") else Box.whole(extents),
    )
