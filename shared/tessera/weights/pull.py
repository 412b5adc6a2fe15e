"""Reading boxes of a committed version into the reader's own buffers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import grpc
import numpy as np
import structlog
import xxhash

from tessera import errors
from tessera.api.controller.v1 import registry_pb2
from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.rpc.channel import bearer, data_channel, mapped_errors
from tessera.rpc.tls.names import shard_server_name
from tessera.rpc.token import Token, tls_of
from tessera.weights import lane, messages, strided, wire
from tessera.weights.box import Box
from tessera.weights.directory import PATIENCE_SECONDS, find, with_patience
from tessera.weights.holding import AWAY, STILL_SECONDS, WatchedStream, by_holder, standing_still
from tessera.weights.manifest import Manifest
from tessera.weights.plan import Transfer, Wanted, plan
from tessera.weights.record import record
from tessera.weights.strided import Bytes

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
    wanted = [_checked(manifest, want) for want in wants]
    pulling = _Pulling(manifest, wants, token, patience)
    first = by_holder(manifest, plan(manifest, wanted), away=AWAY.now())
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
        self, shard: str, transfers: list[Transfer], tried: frozenset[str] = frozenset()
    ) -> None:
        """Get transfers from a shard, or from others that have the same slices.

        As long as there are others, a shard that is away or stands still is not waited for.
        """
        tried |= {shard}
        others = by_holder(self._manifest, transfers, away=tried, only=True)
        alone = others.pop("", [])
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
        transfers: list[Transfer],
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
                self._stream(connection, left, watched)
        with self._lock:
            self.sizes[shard] += sum(transfer.size for transfer in transfers)

    def _stream(
        self, connection: grpc.Channel, transfers: list[Transfer], watched: WatchedStream | None
    ) -> None:
        """What is still to be done, over gRPC."""
        runs, size = self._manifest.runs, sum(transfer.size for transfer in transfers)
        # Those that are whole slices come last, as shards send them.
        transfers.sort(
            key=lambda t: (
                runs and t.whole, t.source.piece, t.source.offset, t.within.offsets,
            )
        )  # fmt: skip
        ask = connection.unary_stream(
            wire.PULL_METHOD,
            request_serializer=pb.PullSlicesRequest.SerializeToString,
            response_deserializer=wire.identity,
        )
        replies = ask(
            _request(self._manifest, transfers),
            metadata=bearer(self._token),
            timeout=PATIENCE_SECONDS + size / wire.SLOWEST_BYTES_PER_SECOND,
        )
        coming = replies if watched is None else watched.messages(replies)
        _Receiver(self._manifest, transfers, self._wants).receive(coming)


def _request(manifest: Manifest, transfers: Sequence[Transfer]) -> pb.PullSlicesRequest:
    """What is asked of a shard: parts of slices one by one, whole ones by their places."""
    request = pb.PullSlicesRequest(set=manifest.version.set, version=manifest.version.number)
    runs: dict[str, list[int]] = {}
    for transfer in transfers:
        if manifest.runs and transfer.whole:
            runs.setdefault(transfer.source.piece, []).append(transfer.source.offset)
        else:
            request.items.append(_item(transfer))
    request.runs.extend(pb.PullRun(piece=piece, offsets=places) for piece, places in runs.items())
    return request


def _item(transfer: Transfer) -> pb.PullItem:
    return pb.PullItem(
        piece=transfer.source.piece,
        offset=transfer.source.offset,
        extents=transfer.source.box.extents,
        element_size=transfer.element_size,
        box=None if transfer.whole else messages.box_to_pb(transfer.within),
    )


class _Receiver:
    """Takes the messages of one stream apart and puts the bytes where they belong."""

    def __init__(
        self, manifest: Manifest, transfers: Sequence[Transfer], wants: Sequence[Want]
    ) -> None:
        self._manifest = manifest
        self._transfers = transfers
        self._wants = wants
        self._digests: list[int] = []
        self._checksums: list[int] | None = None
        self._rest = np.empty(0, np.uint8)
        self._taken = 0

    def receive(self, messages_: Iterable[bytes]) -> None:
        """Consume a whole stream and verify it."""
        payloads = self._payloads(messages_)
        for transfer in self._transfers:
            want = self._wants[transfer.want]
            if transfer.into.extents == transfer.extents:
                self._fill(want.out.reshape(-1), payloads)
                continue
            place = (want.out.reshape(-1), transfer.extents, transfer.element_size, transfer.into)
            target = strided.run(*place)
            staged = target is None
            if target is None:
                target = np.empty(transfer.size, np.uint8)
            self._fill(target, payloads)
            if staged:
                strided.scatter(target, *place)
        extra = self._rest.size - self._taken + sum(more.size for more in payloads)
        self._verify(extra)

    def _payloads(self, stream: Iterable[bytes]) -> Iterator[Bytes]:
        for message in stream:
            data = wire.payload(wire.PULL_DATA, message)
            if data is not None:
                yield data
                continue
            reply = pb.PullSlicesResponse.FromString(message)
            if reply.WhichOneof("content") == "checksums":
                self._checksums = list(reply.checksums.checksums)
            else:
                yield np.frombuffer(reply.data, np.uint8)

    def _fill(self, target: Bytes, payloads: Iterator[Bytes]) -> None:
        """Fill `target` from what is left of a message and those that follow."""
        end = self._taken + target.size
        if end <= self._rest.size:
            # Most often by far where there are many small ones.
            part = self._rest[self._taken : end]
            target[:] = part
            self._digests.append(xxhash.xxh3_64_intdigest(part.data))
            self._taken = end
            return
        hasher = xxhash.xxh3_64()
        filled = 0
        while filled < target.size:
            if self._taken == self._rest.size:
                following = next(payloads, None)
                if following is None:
                    raise errors.DataLossError("the shard sent too few bytes", reason="SHORT_PULL")
                self._rest, self._taken = following, 0
            part = self._rest[self._taken : self._taken + target.size - filled]
            target[filled : filled + part.size] = part
            hasher.update(part.data)
            filled += part.size
            self._taken += part.size
        self._digests.append(hasher.intdigest())

    def _verify(self, extra: int) -> None:
        if extra or self._checksums is None or len(self._checksums) != len(self._digests):
            raise errors.DataLossError(
                "the shard's stream does not end as announced", reason="SHORT_PULL"
            )
        for transfer, sent, digest in zip(
            self._transfers, self._checksums, self._digests, strict=True
        ):
            # A whole slice is held against what its writer said, not only what the shard sent.
            if digest != sent or (digest != transfer.source.checksum and transfer.whole):
                tensor = self._manifest.tensors[transfer.source.tensor]
                raise errors.DataLossError(
                    f"bytes of {tensor.group} tensor {tensor.name} from {transfer.source.shard}"
                    " do not match their checksum",
                    reason="CHECKSUM_MISMATCH",
                    metadata={"tensor": tensor.name, "shard": transfer.source.shard},
                )
