"""Sending slices of an open version to the shards."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import xxhash

from tessera import errors
from tessera.api.controller.v1 import registry_pb2
from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.rpc.channel import bearer, data_channel, mapped_errors
from tessera.rpc.tls.names import shard_server_name
from tessera.rpc.token import Token, tls_of
from tessera.weights import messages, wire
from tessera.weights.box import Box
from tessera.weights.directory import PATIENCE_SECONDS, find, with_patience
from tessera.weights.manifest import OpenedVersion, ShardAddress, TensorSpec
from tessera.weights.placement import Placed, place, share, split_boxes
from tessera.weights.strided import Bytes

BATCH_BYTES = 32 * 1024 * 1024
"""Announced and hashed together: small batches interrupt the stream, the first one delays it."""

BATCH_SLICES = 512
SLOWEST_BYTES_PER_SECOND = 5e6


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSlice:
    """A slice that this rank holds.

    `tensor` is the index in the opened version's tensors; `data` is contiguous 1-D uint8, the box's
    elements in row-major order.
    """

    tensor: int
    group: str
    box: Box
    data: Bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport:
    """What was pushed: bytes, seconds, and (tensor index, box, xxh3-64) of every slice as stored.

    A slice much bigger than a shard's share is stored in several blocks along its first axes.
    """

    size: int
    seconds: float
    digests: tuple[tuple[int, Box, int], ...]


def push(
    opened: OpenedVersion,
    rank: int,
    slices: Sequence[LocalSlice],
    token: Token,
    *,
    patience: float = PATIENCE_SECONDS,
) -> PushReport:
    """Send this rank's slices, one stream for each shard, all at once.

    Everything that a rank gives to a version goes in one call: a second one replaces the first as
    long as the version is not sealed. Afterwards only the same slices are accepted again, which
    changes nothing; so after a failed seal every rank may push again.

    Raises:
        FailedPreconditionError: the writer is FENCED, or the version is closed (VERSION_CLOSED).
        InvalidArgumentError: a slice does not fit its tensor.
        DataLossError: bytes were damaged on the way.
        UnavailableError: a shard stayed away for longer than `patience` seconds.
    """
    begin = time.monotonic()
    if not opened.shards:
        raise errors.InvalidArgumentError("the opened version names no shard", reason="NO_SHARDS")
    parts = _split(opened.tensors, slices, len(opened.shards))
    placed = [Placed(part.tensor, part.box, part.data.size) for part in parts]
    streams: dict[str, list[LocalSlice]] = defaultdict(list)
    names = place(placed, [shard.name for shard in opened.shards])
    for name, part in zip(names, parts, strict=True):
        streams[name].append(part)
    with ThreadPoolExecutor(len(opened.shards), thread_name_prefix="push") as pool:
        # A shard without slices gets a stream too: it may hold some of an earlier push.
        jobs = [
            pool.submit(_push, opened, rank, shard, streams[shard.name], token, patience)
            for shard in opened.shards
        ]
        digests = [digest for job in jobs for digest in job.result()]
    return PushReport(
        size=sum(part.data.size for part in parts),
        seconds=time.monotonic() - begin,
        digests=tuple(digests),
    )


def _split(
    tensors: Sequence[TensorSpec], slices: Sequence[LocalSlice], shards: int
) -> list[LocalSlice]:
    for item in slices:
        _check(tensors, item)
    limit = share([item.data.size for item in slices], shards) if slices else 0
    parts = []
    for item in slices:
        if not item.data.size:
            continue
        start = 0
        for box in split_boxes(item.box, item.data.size, limit):
            size = box.elements * tensors[item.tensor].element_size
            data = item.data[start : start + size]
            parts.append(LocalSlice(tensor=item.tensor, group=item.group, box=box, data=data))
            start += size
    return parts


def _check(tensors: Sequence[TensorSpec], item: LocalSlice) -> None:
    if not 0 <= item.tensor < len(tensors):
        raise errors.InvalidArgumentError(
            f"slice names tensor {item.tensor}, but the version has {len(tensors)} tensors",
            reason="UNKNOWN_TENSOR",
        )
    tensor = tensors[item.tensor]
    wrong = ""
    if item.group != tensor.group:
        wrong = f"its group is {tensor.group}, not {item.group}"
    elif not tensor.box.contains(item.box):
        wrong = f"box {item.box.offsets}+{item.box.extents} is outside of shape {tensor.shape}"
    elif item.data.dtype != np.uint8 or item.data.ndim != 1 or not item.data.flags.c_contiguous:
        wrong = "the data must be a contiguous 1-D array of uint8"
    elif item.data.size != item.box.elements * tensor.element_size:
        wrong = (
            f"the box takes {item.box.elements * tensor.element_size} bytes, not {item.data.size}"
        )
    if wrong:
        raise errors.InvalidArgumentError(
            f"slice of {tensor.group} tensor {tensor.name}: {wrong}", reason="BAD_SLICE"
        )


def _push(  # noqa: PLR0917 - what one thread needs
    opened: OpenedVersion,
    rank: int,
    shard: ShardAddress,
    slices: Sequence[LocalSlice],
    token: Token,
    patience: float,
) -> list[tuple[int, Box, int]]:
    """One stream, from the start again whenever the shard goes away; returns the digests."""
    ordered = sorted(slices, key=lambda item: item.group)
    size = sum(item.data.size for item in ordered)

    def attempt(again: bool) -> list[tuple[int, Box, int]]:
        digests: list[tuple[int, Box, int]] = []
        address = shard.data_address
        if again:
            role = registry_pb2.ROLE_SHARD
            address = find(opened.controller, token, role, shard.name).data_address
        name = shard_server_name(shard.name)
        with data_channel(address, tls_of(token), name) as connection, mapped_errors():
            send = connection.stream_unary(
                wire.PUSH_METHOD,
                request_serializer=wire.serialize,
                response_deserializer=pb.PushSlicesResponse.FromString,
            )
            reply = send(
                _requests(opened, rank, ordered, digests),
                metadata=bearer(token),
                timeout=PATIENCE_SECONDS + size / SLOWEST_BYTES_PER_SECOND,
            )
        if reply.size != size:
            raise errors.DataLossError(f"{shard.name} stored {reply.size} of {size} bytes")
        return digests

    return with_patience(attempt, patience)


def _requests(
    opened: OpenedVersion,
    rank: int,
    slices: Sequence[LocalSlice],
    digests: list[tuple[int, Box, int]],
) -> Iterator[pb.PushSlicesRequest | bytes]:
    target = pb.PushTarget(set=opened.set, rank=rank, grant=opened.grant)
    yield pb.PushSlicesRequest(target=target)
    batches = list(_batches(slices))
    # A stream sends one message at a time; hashing the next batch meanwhile costs it nothing.
    with ThreadPoolExecutor(1, thread_name_prefix="hash") as ahead:
        headers = ahead.submit(_headers, batches[0]) if batches else None
        for position, batch in enumerate(batches):
            assert headers is not None
            found = headers.result()
            if position + 1 < len(batches):
                headers = ahead.submit(_headers, batches[position + 1])
            digests += [
                (item.tensor, item.box, header.checksum)
                for item, header in zip(batch, found, strict=True)
            ]
            yield pb.PushSlicesRequest(headers=pb.SliceHeaders(headers=found))
            yield from wire.chunks((item.data for item in batch), wire.PUSH_DATA)


def _headers(batch: Sequence[LocalSlice]) -> list[pb.SliceHeader]:
    return [
        pb.SliceHeader(
            tensor=item.tensor,
            group=item.group,
            box=messages.box_to_pb(item.box),
            size=item.data.size,
            checksum=xxhash.xxh3_64_intdigest(item.data.data),
        )
        for item in batch
    ]


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
