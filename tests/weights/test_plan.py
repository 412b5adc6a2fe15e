"""Any layout from any other, bit for bit."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.weights import plan as planner
from tessera.weights import strided
from tessera.weights.box import Box
from tessera.weights.coverage import check_coverage
from tessera.weights.manifest import SliceSpec, TensorSpec
from tessera.weights.plan import Wanted, plan


def layout(dice, shape):
    """Boxes that tile a tensor: every axis cut into uneven parts, some of them empty (a mesh)."""
    axes = []
    for full in shape:
        cuts = [dice.randint(0, full) for _ in range(dice.randint(0, 3))]
        axes.append(list(itertools.pairwise([0, *sorted(cuts), full])))
    return [
        Box(tuple(a for a, _ in cell), tuple(b - a for a, b in cell))
        for cell in itertools.product(*axes)
    ]


def case(seed):
    """A tensor, the boxes held, replicas of some, and the boxes wanted.

    Dice of a drawn seed: drawing every number by itself would take minutes for thousands of cases.
    """
    dice = random.Random(seed)
    shape = tuple(dice.choice([0, 1, 2, 3, 5, 9]) for _ in range(dice.randint(0, 4)))
    tensor = TensorSpec(
        group="model", name="w", shape=shape, dtype=dice.choice(["U8", "BF16", "F32", "F64"])
    )
    held = layout(dice, shape)
    replicas = [dice.choice(held) for _ in range(dice.randint(0, 2))]
    return tensor, held, replicas, layout(dice, shape)


def store(tensor, data, boxes, shards=3):
    """Slices dense in their shards' pieces, as a push would leave them."""
    pieces = {f"shard-{i}": bytearray(b"\xaa" * i) for i in range(shards)}
    slices = []
    for number, box in enumerate(boxes):
        shard = f"shard-{number % shards}"
        packed = strided.gather(data, tensor.shape, tensor.element_size, box).tobytes()
        if not packed:
            continue
        offset = len(pieces[shard])
        pieces[shard] += packed
        slices.append(
            SliceSpec(
                tensor=0,
                box=box,
                shard=shard,
                piece="p",
                offset=offset,
                size=len(packed),
                checksum=0,
            )
        )
    return slices, {name: np.frombuffer(bytes(b), np.uint8) for name, b in pieces.items()}


def carry_out(transfers, pieces, wants, outs):
    """What shards and readers do with a plan; returns the bytes moved."""
    moved = 0
    for item in transfers:
        source = item.source
        data = pieces[source.shard][source.offset : source.offset + source.size]
        packed = strided.gather(data, source.box.extents, item.element_size, item.within)
        assert packed.size == item.size
        moved += item.size
        extents = wants[item.want].box.extents
        strided.scatter(packed, outs[item.want], extents, item.element_size, item.into)
    return moved


def cut(data, tensor, box):
    """A box of a tensor, by numpy's own indexing."""
    whole = data.reshape(*tensor.shape, tensor.element_size)
    ranges = zip(box.offsets, box.extents, strict=True)
    return whole[tuple(slice(begin, begin + length) for begin, length in ranges)].tobytes()


def check_pair(seed, block):
    """Hold a tensor in one layout, read it in another."""
    tensor, held, replicas, wanted = case(seed)
    data = np.random.default_rng(seed).integers(0, 256, tensor.size, np.uint8)
    slices, pieces = store(tensor, data, [*held, *replicas])
    check_coverage([tensor], slices[: sum(1 for box in held if box.elements)])
    wants = [Wanted(0, box) for box in wanted]
    outs = [np.zeros(box.elements * tensor.element_size, np.uint8) for box in wanted]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "BLOCK_BYTES", block)
        transfers = plan([tensor], slices, wants)
    # Exactly what is needed is moved, replicas or not.
    assert carry_out(transfers, pieces, wants, outs) == tensor.size
    for box, out in zip(wanted, outs, strict=True):
        assert out.tobytes() == cut(data, tensor, box)


PAIRS = given(st.integers(0, 2**63), st.sampled_from([8, 64, planner.BLOCK_BYTES]))


@pytest.mark.processes
@settings(max_examples=2500, deadline=None)
@PAIRS
def test_every_layout_is_read_from_every_other_bit_for_bit(seed, block):
    check_pair(seed, block)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=50_000, deadline=None)
@PAIRS
def test_fifty_thousand_pairs_of_layouts(seed, block):
    check_pair(seed, block)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**63))
def test_a_gap_is_refused(seed):
    tensor, held, _, _ = case(seed)
    solid = [box for box in held if box.elements]
    if not solid:
        return
    gone = random.Random(seed).choice(solid)
    slices, _ = store(tensor, np.zeros(tensor.size, np.uint8), [b for b in solid if b != gone])
    with pytest.raises(errors.DataLossError) as caught:
        plan([tensor], slices, [Wanted(0, tensor.box)])
    assert caught.value.reason == "GAP"
    with pytest.raises(errors.FailedPreconditionError) as refused:
        check_coverage([tensor], slices)
    assert refused.value.reason == "INCOMPLETE"
    assert refused.value.metadata["tensor"] == "w"


def test_one_holder_is_preferred_where_replicas_overlap():
    tensor = TensorSpec(group="model", name="w", shape=(8, 4), dtype="F32")
    halves = [Box((0, 0), (4, 4)), Box((4, 0), (4, 4))]
    slices, _ = store(tensor, np.zeros(tensor.size, np.uint8), [*halves, tensor.box])
    transfers = plan([tensor], slices, [Wanted(0, tensor.box)])
    assert [item.source.box for item in transfers] == [tensor.box]


def test_contiguous_blocks_are_not_cut():
    tensor = TensorSpec(group="model", name="w", shape=(4096, 1024), dtype="F32")
    slices = [
        SliceSpec(
            tensor=0, box=tensor.box, shard="s", piece="p", offset=0, size=tensor.size, checksum=0
        )
    ]
    rows = plan([tensor], slices, [Wanted(0, Box((7, 0), (4000, 1024)))])
    assert len(rows) == 1
    columns = plan([tensor], slices, [Wanted(0, Box((0, 8), (4096, 512)))])
    assert all(item.size <= planner.BLOCK_BYTES for item in columns)
    assert len(columns) == 2


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        ([Box((0, 0), (3, 4)), Box((2, 3), (2, 1))], "OVERLAP"),
        ([Box((0, 0), (4, 5))], "BOX_OUT_OF_TENSOR"),
        ([Box((0,), (4,))], "BOX_OUT_OF_TENSOR"),
        ([Box((0, 0), (4, 3))], "INCOMPLETE"),
        ([], "INCOMPLETE"),
    ],
)
def test_what_does_not_cover_a_tensor_once_is_refused(boxes, reason):
    tensor = TensorSpec(group="model", name="w", shape=(4, 4), dtype="F32")
    slices = [
        SliceSpec(tensor=0, box=b, shard="s", piece="p", offset=0, size=b.elements * 4, checksum=0)
        for b in boxes
    ]
    with pytest.raises(errors.FailedPreconditionError) as caught:
        check_coverage([tensor], slices)
    assert caught.value.reason == reason


def test_a_wanted_box_outside_of_its_tensor_is_refused():
    tensor = TensorSpec(group="model", name="w", shape=(4,), dtype="F32")
    with pytest.raises(errors.InvalidArgumentError) as caught:
        plan([tensor], [], [Wanted(0, Box((2,), (3,)))])
    assert caught.value.reason == "BOX_OUT_OF_TENSOR"
