"""Reading boxes of a committed version into the reader's own buffers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import grpc
import numpy as np
import structlog

from tessera import errors
from tessera.api.controller.v1 import registry_pb2
from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.rpc.channel import bearer, data_channel, mapped_errors
from tessera.rpc.tls.names import shard_server_name
from tessera.rpc.token import Token, tls_of
from tessera.weights import lane, messages, wire
from tessera.weights.box import Box
from tessera.weights.directory import PATIENCE_SECONDS, find, with_patience
from tessera.weights.holding import AWAY, STILL_SECONDS, WatchedStream, by_holder, standing_still
from tessera.weights.manifest import Manifest
from tessera.weights.plan import Wanted, plan
from tessera.weights.receiver import Receiver
from tessera.weights.record import record
from tessera.weights.strided import Bytes
from tessera.weights.transfer_table import Transfer, TransferTable

log = structlog.get_logger()


@record
class Want:
    """A box of a tensor; `out` is writable contiguous uint8 of exactly its bytes, row-major.

    `view`: the box is one of the tensor's elements in this shape, for example (3, h, d) of a
    matrix of shape (3 h, d); None: in its own.
    """

    group: str
    name: str
    box: Box
    out: Bytes
    view: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PullReport:
    """What was pulled: bytes, seconds, and how many bytes came from each shard."""

    size: int
    seconds: float
    shards: dict[str, int]


def pull(
    manifest: Manifest,
    wants: Sequence[Want],
    token: Token,
    *,
    patience: float = PATIENCE_SECONDS,
) -> PullReport:
    """Fill every `out`, one stream for each shard, all at once; checksums are verified.

    Of slices that several shards have, another one is asked where the first is away, stands still
    for `STILL_SECONDS`, or has them damaged.

    Contiguous blocks go straight into `out`; strided ones are staged, at most 4 MiB at a time.

    Raises:
        NotFoundError: the version has no such tensor (TENSOR_NOT_FOUND), or it was dropped
            meanwhile (PIECE_NOT_FOUND); pin versions that take long to read.
        DataLossError: bytes do not match their checksum (CHECKSUM_MISMATCH), or slices are missing.
        UnavailableError: all shards that have some slice stayed away for longer than `patience`
            seconds.
    """
    begin = time.monotonic()
    transfers = plan(manifest, (_checked(manifest, want) for want in wants))
    pulling = _Pulling(manifest, wants, token, patience)
    first = by_holder(manifest, transfers.in_order(runs=manifest.runs), away=AWAY.now())
    with ThreadPoolExecutor(max(1, len(first)), thread_name_prefix="pull") as pool:
        jobs = [pool.submit(pulling.fill, name, items) for name, items in first.items()]
        for job in jobs:
            job.result()
    sizes = dict(pulling.sizes)
    return PullReport(size=sum(sizes.values()), seconds=time.monotonic() - begin, shards=sizes)


def _checked(manifest: Manifest, want: Want) -> Wanted:
    try:
        index = manifest.index(want.group, want.name)
    except KeyError as error:
        raise errors.NotFoundError(str(error.args[0]), reason="TENSOR_NOT_FOUND") from None
    size = want.box.elements * manifest.tensors[index].element_size
    flags = want.out.flags
    good = want.out.dtype == np.uint8 and flags.c_contiguous and flags.writeable
    if not good or want.out.size != size:
        raise errors.InvalidArgumentError(
            f"out of {want.group} tensor {want.name} must be {size} writable contiguous bytes"
            f" (uint8); it is {want.out.size} of {want.out.dtype}",
            reason="BAD_BUFFER",
        )
    return Wanted(index, want.box, want.view)


class _Pulling:
    """The streams of one pull; where a shard fails, the other holders of its slices are asked."""

    def __init__(
        self, manifest: Manifest, wants: Sequence[Want], token: Token, patience: float
    ) -> None:
        self._manifest = manifest
        self._wants = wants
        self._token = token
        self._patience = patience
        self._addresses = {shard.name: shard.data_address for shard in manifest.shards}
        self._lock = threading.Lock()
        self.sizes: Counter[str] = Counter()

    def fill(
        self, shard: str, transfers: TransferTable, tried: frozenset[str] = frozenset()
    ) -> None:
        """Get transfers from a shard, or from others that have the same slices.

        As long as there are others, a shard that is away or stands still is not waited for.
        """
        tried |= {shard}
        others = by_holder(self._manifest, transfers, away=tried, only=True)
        alone = others.pop("", None)
        if not others:
            with_patience(partial(self._attempt, shard, transfers), self._patience)
            return
        try:
            with standing_still(STILL_SECONDS) as watched:
                self._attempt(shard, transfers, again=False, watched=watched)
        except (errors.UnavailableError, errors.CancelledError, errors.DeadlineExceededError):
            AWAY.add(shard)
        except errors.DataLossError as error:
            log.warning("reading a copy", shard=shard, reason=error.reason, message=error.message)
        else:
            return
        if alone:
            with_patience(partial(self._attempt, shard, alone), self._patience)
        for other, items in others.items():
            self.fill(other, items, tried)

    def _attempt(
        self,
        shard: str,
        transfers: TransferTable,
        again: bool,
        watched: WatchedStream | None = None,
    ) -> None:
        """All of it, from the start; `again`: the shard may be at another address now."""
        address = "" if again else self._addresses.get(shard, "")
        if not address:
            role = registry_pb2.ROLE_SHARD
            address = find(self._manifest.controller, self._token, role, shard).data_address
        name = shard_server_name(shard)
        with data_channel(address, tls_of(self._token), name) as connection, mapped_errors():
            seconds = lane.CALL_SECONDS if watched is None else STILL_SECONDS / 2
            left = lane.pull(
                connection, self._manifest, transfers, self._wants, self._token, seconds=seconds
            )
            if left:
                self._stream(connection, shard, left, watched)
        with self._lock:
            self.sizes[shard] += transfers.size

    def _stream(
        self,
        connection: grpc.Channel,
        shard: str,
        transfers: TransferTable,
        watched: WatchedStream | None,
    ) -> None:
        """What is still to be done, over gRPC."""
        ask = connection.unary_stream(
            wire.PULL_METHOD,
            request_serializer=pb.PullSlicesRequest.SerializeToString,
            response_deserializer=wire.identity,
        )
        replies = ask(
            _request(self._manifest, transfers),
            metadata=bearer(self._token),
            timeout=PATIENCE_SECONDS + transfers.size / wire.SLOWEST_BYTES_PER_SECOND,
        )
        coming = replies if watched is None else watched.messages(replies)
        Receiver(self._manifest, shard, transfers, self._wants).receive(coming)


def _request(manifest: Manifest, transfers: TransferTable) -> pb.PullSlicesRequest:
    """What is asked of a shard: parts of slices one by one, then whole ones by their places."""
    request = pb.PullSlicesRequest(set=manifest.version.set, version=manifest.version.number)
    in_runs = manifest.runs & transfers.whole
    request.items.extend(map(_item, transfers.take(np.flatnonzero(~in_runs))))
    runs = transfers.take(np.flatnonzero(in_runs))
    for number, (_, piece) in runs.places.items():
        offsets = runs.offsets[runs.place == number]
        request.runs.append(pb.PullRun(piece=piece, offsets=offsets.tolist()))
    return request


def _item(transfer: Transfer) -> pb.PullItem:
    return pb.PullItem(
        piece=transfer.source.piece,
        offset=transfer.source.offset,
        extents=transfer.source.box.extents,
        element_size=transfer.element_size,
        box=None if transfer.whole else messages.box_to_pb(transfer.within),
    )
