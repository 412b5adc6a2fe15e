"""Sending slices of an open version to the shards."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np
import xxhash

from tessera import errors
from tessera.api.controller.v1 import registry_pb2
from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.rpc.channel import bearer, data_channel, mapped_errors
from tessera.rpc.tls.names import shard_server_name
from tessera.rpc.token import Token, tls_of
from tessera.weights import wire
from tessera.weights.box import Box
from tessera.weights.box_columns import BoxColumns
from tessera.weights.directory import PATIENCE_SECONDS, find, with_patience
from tessera.weights.header_messages import header_to_pb, table_of_headers
from tessera.weights.local_slice import LocalSlice, divided
from tessera.weights.manifest import OpenedVersion, ShardAddress, TensorSpec
from tessera.weights.memory_lane import MemoryLane
from tessera.weights.placement import Placed, place
from tessera.weights.push_digest import push_digest
from tessera.weights.reshape import View
from tessera.weights.view_column import ViewColumn

BATCH_BYTES = 32 * 1024 * 1024
"""Announced and hashed together: small batches interrupt the stream, the first one delays it."""

BATCH_SLICES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport:
    """What was pushed of a version.

    Attributes:
        version: its number.
        tensors: all of it.
        size: bytes that the shards have now.
        sent: bytes that were sent for that; the others they had.
        seconds: that it took.
        digests: tensor index, box, view and xxh3-64 of every slice as stored. A slice much bigger
            than a shard's share is stored in several blocks along its first axes.
    """

    version: int
    tensors: tuple[TensorSpec, ...]
    size: int
    sent: int
    seconds: float
    digests: tuple[Digest, ...]

    @property
    def digest(self) -> int:
        """What it adds to the digest that the writer seals the version with."""
        if not self.digests:
            return 0
        tensors, boxes, views, checksums = zip(*self.digests, strict=True)
        return push_digest(
            np.array(tensors, np.int64),
            BoxColumns.of(boxes),
            ViewColumn.of(views),
            np.array(checksums, np.uint64),
        )

    @property
    def known(self) -> dict[Identity, tuple[int, int]]:
        """Index of the tensor, and checksum, of every slice."""
        return {
            (self.tensors[index].group, self.tensors[index].name, box, view): (index, checksum)
            for index, box, view, checksum in self.digests
        }


Digest = tuple[int, Box, View, int]
"""Index of a tensor, box and view of a slice of it, and its checksum."""

Identity = tuple[str, str, Box, View]
"""Group and name of a tensor, and the box and view of a slice of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What shards have of an earlier version."""

    version: int
    slices: Mapping[Identity, tuple[int, int]]


_NOTHING = _Known(version=0, slices={})


def push(
    opened: OpenedVersion,
    rank: int,
    slices: Sequence[LocalSlice],
    token: Token,
    *,
    patience: float = PATIENCE_SECONDS,
    before: PushReport | None = None,
) -> PushReport:
    """Send this rank's slices, one stream for each shard, all at once.

    What is the same as in the version `before`, which this rank pushed and which is committed, is
    not sent again: the shards take it over.

    Everything that a rank gives to a version goes in one call: a second one replaces the first as
    long as the version is not sealed. Afterwards only the same slices are accepted again, which
    changes nothing; so after a failed seal every rank may push again.

    Raises:
        FailedPreconditionError: the writer is FENCED, the version is closed (VERSION_CLOSED), or
            the platform is too old for views (VIEWS_UNKNOWN).
        InvalidArgumentError: a slice does not fit its tensor (BAD_SLICE, or VIEW_MISMATCH and
            BOX_OUT_OF_TENSOR where it is a box of a view), or names none (UNKNOWN_TENSOR).
        DataLossError: bytes were damaged on the way.
        UnavailableError: a shard stayed away for longer than `patience` seconds.
    """
    begin = time.monotonic()
    if not opened.shards:
        raise errors.InvalidArgumentError("the opened version names no shard", reason="NO_SHARDS")
    if not opened.views and any(item.view is not None for item in slices):
        raise errors.FailedPreconditionError(
            "this platform does not know slices that are boxes of views; push boxes of the tensor"
            " itself, or update it",
            reason="VIEWS_UNKNOWN",
        )
    parts = divided(opened.tensors, slices, len(opened.shards))
    placed = [Placed(part.tensor, part.box, part.data.size, part.view) for part in parts]
    streams: dict[str, list[LocalSlice]] = defaultdict(list)
    names = place(placed, [shard.name for shard in opened.shards])
    for name, part in zip(names, parts, strict=True):
        streams[name].append(part)
    with ThreadPoolExecutor(len(opened.shards), thread_name_prefix="push") as pool:
        # A shard without slices gets a stream too: it may hold some of an earlier push.
        known = _Known(version=before.version, slices=before.known) if before else _NOTHING
        jobs = [
            pool.submit(_push, opened, rank, shard, streams[shard.name], known, token, patience)
            for shard in opened.shards
        ]
        pushed = [job.result() for job in jobs]
    return PushReport(
        version=opened.number,
        tensors=opened.tensors,
        size=sum(part.data.size for part in parts),
        sent=sum(one.sent for one in pushed),
        seconds=time.monotonic() - begin,
        digests=tuple(digest for one in pushed for digest in one.digests),
    )


@dataclass(slots=True)
class _Pushed:
    """What went to one shard."""

    digests: list[Digest] = field(default_factory=list)
    sent: int = 0


def _push(  # noqa: PLR0917 - what one thread needs
    opened: OpenedVersion,
    rank: int,
    shard: ShardAddress,
    slices: Sequence[LocalSlice],
    known: _Known,
    token: Token,
    patience: float,
) -> _Pushed:
    """One stream, from the start again whenever the shard goes away."""
    ordered = sorted(slices, key=lambda item: item.group)
    size = sum(item.data.size for item in ordered)

    def attempt(again: bool, known: _Known, *, shared: bool) -> _Pushed:
        pushed = _Pushed()
        address = shard.data_address
        if again:
            role = registry_pb2.ROLE_SHARD
            address = find(opened.controller, token, role, shard.name).data_address
        name = shard_server_name(shard.name)
        target = pb.PushTarget(set=opened.set, rank=rank, grant=opened.grant)
        with (
            data_channel(address, tls_of(token), name) as connection,
            MemoryLane(connection, target, token, usable=shared) as lane,
            mapped_errors(),
        ):
            send = connection.stream_unary(
                wire.PUSH_METHOD,
                request_serializer=wire.serialize,
                response_deserializer=pb.PushSlicesResponse.FromString,
            )
            reply = send(
                _requests(opened, target, ordered, known, pushed, lane),
                metadata=bearer(token),
                timeout=PATIENCE_SECONDS + size / wire.SLOWEST_BYTES_PER_SECOND,
            )
        if reply.size != size:
            raise errors.DataLossError(f"{shard.name} stored {reply.size} of {size} bytes")
        return pushed

    return _with_less(attempt, known, patience)


class _Attempt(Protocol):
    def __call__(self, again: bool, known: _Known, *, shared: bool) -> _Pushed: ...


def _with_less(attempt: _Attempt, known: _Known, patience: float) -> _Pushed:
    """Try with less of what is not needed, where the shard says that this is not to be had."""
    shared = True
    while True:
        try:
            return with_patience(partial(attempt, known=known, shared=shared), patience)
        except errors.FailedPreconditionError as error:
            if error.reason == "NOT_HELD" and known is not _NOTHING:
                known = _NOTHING
            elif error.reason == "NO_LANE" and shared:
                shared = False
            else:
                raise


def _requests(  # noqa: PLR0917 - what a stream is made of
    opened: OpenedVersion,
    target: pb.PushTarget,
    slices: Sequence[LocalSlice],
    known: _Known,
    pushed: _Pushed,
    lane: MemoryLane,
) -> Iterator[pb.PushSlicesRequest | bytes]:
    yield pb.PushSlicesRequest(target=target)
    batches = list(_batches(slices))
    # A stream sends one message at a time; hashing the next batch meanwhile costs it nothing.
    with ThreadPoolExecutor(1, thread_name_prefix="hash") as ahead:
        hashing = ahead.submit(_checksums, batches[0]) if batches else None
        for position, batch in enumerate(batches):
            assert hashing is not None
            checksums = hashing.result()
            if position + 1 < len(batches):
                hashing = ahead.submit(_checksums, batches[position + 1])
            pushed.digests += zip(
                (item.tensor for item in batch),
                (item.box for item in batch),
                (item.view for item in batch),
                checksums,
                strict=True,
            )
            headers, new = _announcement(opened, batch, checksums, known)
            yield pb.PushSlicesRequest(headers=headers)
            yield from lane.send(item.data for item in new)
            pushed.sent += sum(item.data.size for item in new)


def _checksums(batch: Sequence[LocalSlice]) -> list[int]:
    return [xxhash.xxh3_64_intdigest(item.data.data) for item in batch]


def _announcement(
    opened: OpenedVersion, batch: Sequence[LocalSlice], checksums: Sequence[int], known: _Known
) -> tuple[pb.SliceHeaders, list[LocalSlice]]:
    """The headers of a batch, and the slices of it that shards do not have."""
    if not known.slices and opened.tables:
        return pb.SliceHeaders(table=table_of_headers(batch, checksums)), list(batch)
    headers, new, sums = [], [], []
    for item, checksum in zip(batch, checksums, strict=True):
        tensor = opened.tensors[item.tensor]
        identity = (tensor.group, tensor.name, item.box, item.view)
        index, earlier = known.slices.get(identity, (0, None))
        if earlier == checksum:
            header = header_to_pb(item, checksum)
            header.reuse.version, header.reuse.tensor = known.version, index
            headers.append(header)
        else:
            new.append(item)
            sums.append(checksum)
    if opened.tables:
        table = table_of_headers(new, sums) if new else None
        return pb.SliceHeaders(headers=headers, table=table), new
    headers += map(header_to_pb, new, sums)
    return pb.SliceHeaders(headers=headers), new


def _batches(slices: Sequence[LocalSlice]) -> Iterator[list[LocalSlice]]:
    batch: list[LocalSlice] = []
    size = 0
    for item in slices:
        if batch and (size + item.data.size > BATCH_BYTES or len(batch) == BATCH_SLICES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item.data.size
    if batch:
        yield batch
