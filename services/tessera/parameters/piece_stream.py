"""A whole piece on its way from shard to shard: what lies in it, then the bytes of that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tessera import errors
from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.parameters.copier import PieceContent
from tessera.parameters.slice_file import SliceFile
from tessera.parameters.slice_store import Key
from tessera.rpc.channel import bearer, data_channel, mapped_errors
from tessera.rpc.tls.names import shard_server_name
from tessera.rpc.token import Token, tls_of
from tessera.weights import messages, wire
from tessera.weights.manifest import ShardAddress
from tessera.weights.strided import Bytes

METHOD = "/tessera.api.parameters.v1.ShardDataService/PullPiece"
SLICES = 4096
"""Of a message."""
PATIENCE_SECONDS = 20.0
IDLE_SECONDS = 30.0


def piece_messages(piece: SliceFile) -> Iterator[bytes | pb.PullPieceResponse]:
    """A piece as messages, verified block by block.

    Raises:
        DataLossError: the disk is damaged.
    """
    slices = [piece.slices[offset] for offset in sorted(piece.slices)]
    for begin in range(0, len(slices), SLICES):
        part = [messages.slice_to_pb(source) for source in slices[begin : begin + SLICES]]
        yield pb.PullPieceResponse(slices=pb.PieceSlices(slices=part), group=piece.group)
    with piece.opened() as file:
        blocks = (b for source in slices for b in file.read(source, 0, source.size))
        yield from wire.chunks(blocks, wire.PULL_DATA)


def fetch_piece(token: Token, source: ShardAddress, key: Key, piece: str) -> PieceContent:
    """Ask another shard for a piece; its bytes come as they are taken.

    Raises:
        UnavailableError: the shard is away.
        DataLossError: it has the piece damaged.
        NotFoundError: it does not have it.
    """
    stream = _stream(token, source, pb.PullPieceRequest(set=key[0], version=key[1], piece=piece))
    group, slices, first = "", [], None
    for message in stream:
        if isinstance(message, pb.PullPieceResponse):
            group = message.group
            slices += [messages.slice_from_pb(one) for one in message.slices.slices]
        else:
            first = message
            break
    return PieceContent(group=group, slices=tuple(slices), data=_data(first, stream))


def _stream(
    token: Token, source: ShardAddress, request: pb.PullPieceRequest
) -> Iterator[pb.PullPieceResponse | Bytes]:
    name = shard_server_name(source.name)
    with data_channel(source.data_address, tls_of(token), name) as connection, mapped_errors():
        ask = connection.unary_stream(
            METHOD,
            request_serializer=pb.PullPieceRequest.SerializeToString,
            response_deserializer=wire.identity,
        )
        for message in ask(request, metadata=bearer(token)):
            data = wire.payload(wire.PULL_DATA, message)
            if data is not None:
                yield data
            else:
                yield _parsed(message)


def _parsed(message: bytes) -> Any:
    found = pb.PullPieceResponse.FromString(message)
    return found if found.WhichOneof("content") == "slices" else np.frombuffer(found.data, np.uint8)


def _data(first: Bytes | None, stream: Iterator[pb.PullPieceResponse | Bytes]) -> Iterator[Bytes]:
    try:
        if first is not None:
            yield first
        for message in stream:
            if isinstance(message, pb.PullPieceResponse):
                raise errors.DataLossError("slices came behind bytes", reason="SHORT_PULL")
            yield message
    finally:
        stream.close()  # type: ignore[attr-defined]  # a generator
