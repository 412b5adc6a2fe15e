"""The bytes of many slices, cut into messages anyhow, and what is said of those that are wrong."""

from __future__ import annotations

import random

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.weights import wire
from tessera.weights.box import Box
from tessera.weights.manifest import Manifest, SliceSpec, TensorSpec, Version, VersionState
from tessera.weights.plan import Wanted, plan
from tessera.weights.pull import Want
from tessera.weights.receiver import Receiver
from tessera.weights.slice_table import SliceTable

VERSION = Version(
    set="default/w", number=1, state=VersionState.COMMITTED, epoch=1, job="j", attempt=1, step=1
)
COUNT, ROWS, COLUMNS = 30, 4, 6
SIZE = ROWS * COLUMNS


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(3).integers(0, 256, COUNT * SIZE, np.uint8)


def manifest(data):
    """Tensors of one slice each, in one piece."""
    tensors = [
        TensorSpec(group="model", name=f"t{i}", shape=(ROWS, COLUMNS), dtype="U8")
        for i in range(COUNT)
    ]
    slices = [
        SliceSpec(
            tensor=i,
            box=tensor.box,
            shard="shard-0",
            piece="0-model",
            offset=i * SIZE,
            size=SIZE,
            checksum=xxhash.xxh3_64_intdigest(data[i * SIZE : (i + 1) * SIZE].data),
        )
        for i, tensor in enumerate(tensors)
    ]
    table = SliceTable.of(slices)
    return Manifest(version=VERSION, tensors=tuple(tensors), slices=table, assets={}, runs=True)


def receive(version, boxes, messages):
    """Have a stream of the whole tensors, or of a box of each, put where it belongs."""
    wants = [
        Want(group="model", name=f"t{i}", box=box, out=np.zeros(box.elements, np.uint8))
        for i, box in enumerate(boxes)
    ]
    transfers = plan(version, [Wanted(i, want.box) for i, want in enumerate(wants)])
    Receiver(version, "shard-7", transfers, wants).receive(messages)
    return [want.out for want in wants]


def stream(parts, limit, sums=None):
    """What a shard sends: data, and the checksums of what it read."""
    yield from wire.chunks(parts, wire.PULL_DATA, limit)
    found = [xxhash.xxh3_64_intdigest(part.tobytes()) for part in parts] if sums is None else sums
    yield pb.PullSlicesResponse(checksums=pb.PullChecksums(checksums=found)).SerializeToString()


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**63), limit=st.integers(1, 3 * COUNT * SIZE))
def test_however_it_is_cut_every_byte_comes_where_it_belongs(data, seed, limit):
    dice = random.Random(seed)
    boxes, parts = [], []
    for number in range(COUNT):
        low = dice.randrange(COLUMNS) if dice.random() < 0.3 else 0
        boxes.append(Box((0, low), (ROWS, COLUMNS - low)))
        tensor = data[number * SIZE : (number + 1) * SIZE].reshape(ROWS, COLUMNS)
        parts.append(np.ascontiguousarray(tensor[:, low:]).reshape(-1))
    outs = receive(manifest(data), boxes, stream(parts, limit))
    assert [out.tobytes() for out in outs] == [part.tobytes() for part in parts]


@pytest.mark.parametrize("limit", [SIZE - 1, SIZE, COUNT * SIZE])
@pytest.mark.parametrize("number", [0, 17, COUNT - 1])
@pytest.mark.parametrize("shard_knows", [True, False])
def test_a_slice_of_a_run_that_is_wrong_is_named(data, limit, number, shard_knows):
    """Be it damaged on the way, or by a shard that calls right what its disk gives."""
    version = manifest(data)
    parts = [data[i * SIZE : (i + 1) * SIZE].copy() for i in range(COUNT)]
    right = [xxhash.xxh3_64_intdigest(part.data) for part in parts]
    parts[number][number % SIZE] ^= 1
    boxes = [tensor.box for tensor in version.tensors]
    with pytest.raises(errors.DataLossError) as caught:
        receive(version, boxes, stream(parts, limit, right if shard_knows else None))
    assert caught.value.reason == "CHECKSUM_MISMATCH"
    assert caught.value.metadata == {"tensor": f"t{number}", "shard": "shard-7"}


@pytest.mark.parametrize("wrong", ["too few", "too many", "no checksums", "a checksum less"])
def test_a_stream_that_ends_otherwise_than_announced_is_refused(data, wrong):
    version = manifest(data)
    parts = [data[i * SIZE : (i + 1) * SIZE] for i in range(COUNT)]
    sums = [xxhash.xxh3_64_intdigest(part.data) for part in parts]
    match wrong:
        case "too few":
            parts = parts[:-1]
        case "too many":
            parts = [*parts, parts[0]]
        case "a checksum less":
            sums = sums[:-1]
    messages = list(stream(parts, 100, sums))
    if wrong == "no checksums":
        messages.pop()
    with pytest.raises(errors.DataLossError) as caught:
        receive(version, [tensor.box for tensor in version.tensors], messages)
    assert caught.value.reason == "SHORT_PULL"
