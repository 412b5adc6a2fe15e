"""The lane between processes of one host: a reader copies out of the files of a shard by itself.

Where it does not work (another host, another mount namespace, an older shard, damage), the bytes
come over gRPC, and what is wrong is said there.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Protocol

import grpc
import structlog

from tessera import errors
from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.rpc.channel import bearer, mapped_errors
from tessera.rpc.token import Token
from tessera.weights import descriptors, handed_transfer, wire
from tessera.weights.descriptors import SocketAddress
from tessera.weights.handed_piece import HandedPiece
from tessera.weights.handed_transfer import Part, Scratch
from tessera.weights.manifest import Manifest, Version
from tessera.weights.plan import Transfer
from tessera.weights.strided import Bytes

log = structlog.get_logger()

LEAST_BYTES = 512 * 1024
"""Less is faster over gRPC than by a ticket and a socket."""

THREADS = 4
"""That copy at once, where there are as many processors."""

CALL_SECONDS = 5.0
"""For what a shard that lives answers at once."""


class Destination(Protocol):
    """Where a wanted box goes: writable contiguous bytes."""

    @property
    def out(self) -> Bytes:
        """The bytes."""


def pull(
    connection: grpc.Channel,
    manifest: Manifest,
    transfers: Sequence[Transfer],
    wants: Sequence[Destination],
    token: Token,
    *,
    seconds: float = CALL_SECONDS,
) -> list[Transfer]:
    """Do what can be done of a shard's transfers; returns those that are still to be done.

    Args:
        connection: to the shard.
        manifest: of the version.
        transfers: all from that shard.
        wants: what they count in.
        token: of the reader.
        seconds: that the shard is waited for.
    """
    size = sum(transfer.size for transfer in transfers)
    if size < LEAST_BYTES or not descriptors.boot_id():
        return list(transfers)
    by_piece: dict[str, list[Transfer]] = defaultdict(list)
    for transfer in transfers:
        by_piece[transfer.source.piece].append(transfer)
    names, left = list(by_piece), list[Transfer]()
    for start in range(0, len(names), descriptors.MOST):
        asked = names[start : start + descriptors.MOST]
        items = [transfer for name in asked for transfer in by_piece[name]]
        size = sum(item.size for item in items)
        try:
            with handed(
                connection, manifest.version, asked, token, size, seconds=seconds
            ) as pieces:
                left += copy(pieces, items, wants)
        except (errors.TesseraError, OSError) as error:
            log.debug("no lane to the shard", error=str(error))
            return left + [transfer for name in names[start:] for transfer in by_piece[name]]
    return left


@contextmanager
def handed(
    connection: grpc.Channel,
    version: Version,
    names: Sequence[str],
    token: Token,
    size: int,
    *,
    seconds: float = CALL_SECONDS,
) -> Iterator[dict[str, HandedPiece]]:
    """Pieces by name, for as long as the block runs.

    Args:
        connection: to the shard.
        version: that they are of.
        names: at most `descriptors.MOST`.
        token: of the reader.
        size: bytes that it will read of them.
        seconds: that the shard is waited for.

    Raises:
        TesseraError: the shard does not offer them.
        OSError: they cannot be handed over.
    """
    request = pb.OpenPiecesRequest(
        set=version.set,
        version=version.number,
        pieces=names,
        boot_id=descriptors.boot_id(),
        size=size,
    )
    ask = connection.unary_unary(
        wire.OPEN_METHOD,
        request_serializer=pb.OpenPiecesRequest.SerializeToString,
        response_deserializer=pb.OpenPiecesResponse.FromString,
    )
    with mapped_errors():
        offer = ask(request, metadata=bearer(token), timeout=seconds)
    address = SocketAddress(path=offer.path, device=offer.device, inode=offer.inode)
    with ExitStack() as open_:
        found = descriptors.fetch(address, offer.ticket, len(names))
        for descriptor in found:
            open_.callback(os.close, descriptor)
        yield {name: HandedPiece(each) for name, each in zip(names, found, strict=True)}


def copy(
    pieces: dict[str, HandedPiece], transfers: Sequence[Transfer], wants: Sequence[Destination]
) -> list[Transfer]:
    """Copy on several threads; returns the transfers of which something is damaged."""
    work = _Work(pieces, transfers, wants)
    most = sum(transfer.size for transfer in transfers) // handed_transfer.PART_BYTES
    others = min(THREADS, len(os.sched_getaffinity(0)), 1 + most) - 1
    with ThreadPoolExecutor(max(1, others), thread_name_prefix="lane") as pool:
        running = [pool.submit(work.run) for _ in range(others)]
        work.run()
        for each in running:
            each.result()
    return [transfer for index, transfer in enumerate(transfers) if index in work.damaged]


class _Work:
    """The parts of transfers, each of which one of several threads does."""

    def __init__(
        self,
        pieces: dict[str, HandedPiece],
        transfers: Sequence[Transfer],
        wants: Sequence[Destination],
    ) -> None:
        self.damaged: set[int] = set()
        self._lock = threading.Lock()
        self._parts = chain.from_iterable(
            self._of(index, pieces[transfer.source.piece], transfer, wants[transfer.want])
            for index, transfer in enumerate(transfers)
        )

    def run(self) -> None:
        """Do parts until none is left."""
        scratch = Scratch()
        while True:
            with self._lock:
                index, part = next(self._parts, (0, None))
            if part is None:
                return
            try:
                if index not in self.damaged:
                    part(scratch)
            except errors.DataLossError as error:
                log.debug("not by the lane", reason=error.reason, error=error.message)
                self.damaged.add(index)

    @staticmethod
    def _of(
        index: int, piece: HandedPiece, transfer: Transfer, want: Destination
    ) -> Iterator[tuple[int, Part]]:
        for part in handed_transfer.parts(piece, transfer, want.out.reshape(-1)):
            yield index, part
