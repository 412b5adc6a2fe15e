"""The lane between processes of one host: a reader copies out of the files of a shard by itself.

Where it does not work (another host, another mount namespace, an older shard, damage), the bytes
come over gRPC, and what is wrong is said there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain

import grpc
import numpy as np
import structlog

from tessera import errors
from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.rpc.channel import bearer, mapped_errors
from tessera.rpc.token import Token
from tessera.weights import descriptors, handed_transfer, wire
from tessera.weights.box_tree import Numbers
from tessera.weights.descriptors import SocketAddress
from tessera.weights.destination import Destination
from tessera.weights.handed_piece import HandedPiece
from tessera.weights.handed_transfer import Part, Scratch
from tessera.weights.manifest import Manifest, Version
from tessera.weights.slice_runs import Flags, runs
from tessera.weights.transfer_table import TransferTable

log = structlog.get_logger()

LEAST_BYTES = 512 * 1024
"""Less is faster over gRPC than by a ticket and a socket."""

THREADS = 4
"""That copy at once, where there are as many processors."""

CALL_SECONDS = 5.0
"""For what a shard that lives answers at once."""


def pull(
    connection: grpc.Channel,
    manifest: Manifest,
    transfers: TransferTable,
    wants: Sequence[Destination],
    token: Token,
    *,
    seconds: float = CALL_SECONDS,
) -> TransferTable:
    """Do what can be done of a shard's transfers; returns those that are still to be done.

    Args:
        connection: to the shard.
        manifest: of the version.
        transfers: all from that shard.
        wants: what they count in.
        token: of the reader.
        seconds: that the shard is waited for.
    """
    if transfers.size < LEAST_BYTES or not descriptors.boot_id():
        return transfers
    done = np.zeros(len(transfers), np.bool_)
    places = transfers.places
    numbers = list(places)
    for start in range(0, len(numbers), descriptors.MOST):
        asked = numbers[start : start + descriptors.MOST]
        rows = np.flatnonzero(np.isin(transfers.place, asked))
        items = transfers.take(rows)
        names = list(dict.fromkeys(places[number][1] for number in asked))
        try:
            with handed(
                connection, manifest.version, names, token, items.size, seconds=seconds
            ) as pieces:
                done[rows] = copy(pieces, items, wants)
        except (errors.TesseraError, OSError) as error:
            log.debug("no lane to the shard", error=str(error))
            break
    return transfers.take(np.flatnonzero(~done))


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
    pieces: dict[str, HandedPiece], transfers: TransferTable, wants: Sequence[Destination]
) -> Flags:
    """Copy on several threads; returns which were: of the others something is damaged."""
    work = _Work(pieces, transfers, wants)
    most = transfers.size // handed_transfer.PART_BYTES
    others = min(THREADS, len(os.sched_getaffinity(0)), 1 + most) - 1
    with ThreadPoolExecutor(max(1, others), thread_name_prefix="lane") as pool:
        running = [pool.submit(work.run) for _ in range(others)]
        work.run()
        for each in running:
            each.result()
    return ~work.damaged


class _Work:
    """The parts of transfers, each of which one of several threads does."""

    def __init__(
        self,
        pieces: dict[str, HandedPiece],
        transfers: TransferTable,
        wants: Sequence[Destination],
    ) -> None:
        self.damaged = np.zeros(len(transfers), np.bool_)
        self._lock = threading.Lock()
        self._transfers = transfers
        self._wants = wants
        self._parts = chain.from_iterable(
            self._of(number, pieces[piece]) for number, (_, piece) in transfers.places.items()
        )

    def run(self) -> None:
        """Do parts until none is left."""
        scratch = Scratch()
        while True:
            with self._lock:
                rows, part = next(self._parts, (None, None))
            if part is None:
                return
            try:
                if not self.damaged[rows].any():
                    part(scratch)
            except errors.DataLossError as error:
                log.debug("not by the lane", reason=error.reason, error=error.message)
                self.damaged[rows] = True

    def _of(self, place: int, piece: HandedPiece) -> Iterator[tuple[Numbers, Part]]:
        """What there is to do of a piece, and which transfers that is of."""
        rows = np.flatnonzero(self._transfers.place == place)
        transfers = self._transfers.take(rows)
        small = handed_transfer.small(transfers)
        for first, last in runs(transfers.offsets, transfers.sizes, small):
            if last - first > 1:
                some = transfers[first:last]
                yield rows[first:last], partial(handed_transfer.together, piece, some, self._wants)
                continue
            transfer = transfers[first]
            out = self._wants[transfer.want].out.reshape(-1)
            for part in handed_transfer.parts(piece, transfer, out):
                yield rows[first:last], part
