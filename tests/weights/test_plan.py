"""Any layout from any other, bit for bit."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planned import check_read, store, version
from tilings import layout, reshapes

from tessera import errors
from tessera.weights import plan as planner
from tessera.weights.box import Box
from tessera.weights.coverage import check_coverage
from tessera.weights.manifest import SliceSpec, TensorSpec
from tessera.weights.plan import Wanted, plan


def case(seed):
    """A tensor, the boxes held, replicas, and the boxes wanted.

    Dice of a drawn seed: drawing every number by itself would take minutes for thousands of cases.
    """
    dice = random.Random(seed)
    shape = tuple(dice.choice([0, 1, 2, 3, 5, 9]) for _ in range(dice.randint(0, 4)))
    tensor = TensorSpec(
        group="model", name="w", shape=shape, dtype=dice.choice(["U8", "BF16", "F32", "F64"])
    )
    held = layout(dice, shape)
    replicas = [dice.choice(held) for _ in range(dice.randint(0, 2))]
    if dice.random() < 0.2:
        # A second copy, of which some is lost, cut by other ranks.
        replicas += [box for box in layout(dice, shape) if dice.random() < 0.8]
    return tensor, held, replicas, layout(dice, shape)


def check_pair(seed, block):
    """Hold a tensor in one layout, read it in another."""
    tensor, held, replicas, wanted = case(seed)
    data = np.random.default_rng(seed).integers(0, 256, tensor.size, np.uint8)
    slices, pieces = store(tensor, data, [*held, *replicas])
    check_coverage([tensor], slices[: sum(1 for box in held if box.elements)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "BLOCK_BYTES", block)
        check_read(tensor, data, (slices, pieces), wanted)


def check_reshaped_pair(seed, block):
    """Hold a tensor in boxes of one shape, read it in those of another one."""
    dice = random.Random(seed)
    shape, view = reshapes(dice, 2)
    tensor = TensorSpec(group="model", name="w", shape=shape, dtype=dice.choice(["U8", "F32"]))
    data = np.random.default_rng(seed).integers(0, 256, tensor.size, np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "BLOCK_BYTES", block)
        stored = store(tensor, data, layout(dice, shape))
        check_read(tensor, data, stored, layout(dice, view), view)


PAIRS = given(st.integers(0, 2**63), st.sampled_from([8, 64, planner.BLOCK_BYTES]))


@settings(max_examples=300, deadline=None)
@PAIRS
def test_every_layout_is_read_from_every_other_bit_for_bit(seed, block):
    check_pair(seed, block)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=15_000, deadline=None)
@PAIRS
def test_fifteen_thousand_pairs_of_layouts(seed, block):
    check_pair(seed, block)


@settings(max_examples=300, deadline=None)
@PAIRS
def test_boxes_of_a_reshaped_tensor_are_read_bit_for_bit(seed, block):
    check_reshaped_pair(seed, block)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=10_000, deadline=None)
@PAIRS
def test_ten_thousand_pairs_of_reshaped_layouts(seed, block):
    check_reshaped_pair(seed, block)


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
        plan(version([tensor], slices), [Wanted(0, tensor.box)])
    assert caught.value.reason == "GAP"
    with pytest.raises(errors.FailedPreconditionError) as refused:
        check_coverage([tensor], slices)
    assert refused.value.reason == "INCOMPLETE"
    assert refused.value.metadata["tensor"] == "w"


def test_one_holder_is_preferred_where_replicas_overlap():
    tensor = TensorSpec(group="model", name="w", shape=(8, 4), dtype="F32")
    halves = [Box((0, 0), (4, 4)), Box((4, 0), (4, 4))]
    slices, _ = store(tensor, np.zeros(tensor.size, np.uint8), [*halves, tensor.box])
    transfers = plan(version([tensor], slices), [Wanted(0, tensor.box)])
    assert [item.source.box for item in transfers] == [tensor.box]


def test_contiguous_blocks_are_not_cut():
    tensor = TensorSpec(group="model", name="w", shape=(4096, 1024), dtype="F32")
    slices = [
        SliceSpec(
            tensor=0, box=tensor.box, shard="s", piece="p", offset=0, size=tensor.size, checksum=0
        )
    ]
    rows = list(plan(version([tensor], slices), [Wanted(0, Box((7, 0), (4000, 1024)))]))
    assert len(rows) == 1
    columns = list(plan(version([tensor], slices), [Wanted(0, Box((0, 8), (4096, 512)))]))
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
        plan(version([tensor], []), [Wanted(0, Box((2,), (3,)))])
    assert caught.value.reason == "BOX_OUT_OF_TENSOR"


def rows(tensor, parts):
    """Slices of a tensor cut along its first axis into even parts."""
    extent = tensor.shape[0] // parts
    box = Box.whole((extent, *tensor.shape[1:]))
    return [
        SliceSpec(
            tensor=0,
            box=Box((part * extent, *box.offsets[1:]), box.extents),
            shard="s",
            piece="p",
            offset=0,
            size=box.elements * tensor.element_size,
            checksum=0,
        )
        for part in range(parts)
    ]


def test_a_rank_of_tensor_parallelism_reads_its_heads_of_a_fused_projection():
    heads, width, ranks = 12, 5, 4
    tensor = TensorSpec(group="model", name="qkv", shape=(3 * heads, width), dtype="F32")
    data = np.random.default_rng(1).integers(0, 256, tensor.size, np.uint8)
    per_rank = heads // ranks
    wanted = [Box((0, rank * per_rank, 0), (3, per_rank, width)) for rank in range(ranks)]
    for parts in (1, 2, 9):
        slices = rows(tensor, parts)
        boxes = [source.box for source in slices]
        check_read(tensor, data, store(tensor, data, boxes), wanted, (3, heads, width))
    transfers = list(plan(version([tensor], rows(tensor, 1)), [Wanted(0, wanted[1], (3, 12, 5))]))
    assert [item.within.offsets[0] for item in transfers] == [3, 15, 27]


@pytest.mark.parametrize(
    ("view", "text"), [((5, 4), "another number of elements"), ((4, 6), "cross")]
)
def test_a_view_that_does_not_fit_the_tensor_is_refused(view, text):
    tensor = TensorSpec(group="model", name="w", shape=(6, 4), dtype="F32")
    with pytest.raises(errors.InvalidArgumentError, match=text) as caught:
        plan(version([tensor], rows(tensor, 2)), [Wanted(0, Box.whole(view), view)])
    assert caught.value.reason == "VIEW_MISMATCH"


def test_the_next_version_is_not_planned_again():
    tensor = TensorSpec(group="model", name="w", shape=(64, 8), dtype="F32")
    moved = [replace(source, shard="t", offset=5) for source in reversed(rows(tensor, 8))]
    want = [Wanted(0, Box((3, 1), (50, 4)))]
    first = list(plan(version([tensor], rows(tensor, 8)), want))
    again = list(plan(version([tensor], moved), want))
    assert all(a.within is b.within for a, b in zip(first, again, strict=True))
    assert {item.source.shard for item in again} == {"t"}
    assert [a.source.box for a in again] == [b.source.box for b in first]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**63))
def test_coverage_is_told_from_what_overlaps_or_lacks(seed):
    dice = random.Random(seed)
    shape = tuple(dice.choice([1, 2, 3, 7]) for _ in range(dice.randint(0, 3)))
    tensor = TensorSpec(group="model", name="w", shape=shape, dtype="U8")
    boxes = [box for box in layout(dice, shape) if dice.random() < 0.95]
    boxes += [box for box in layout(dice, shape) if dice.random() < 0.05]
    counts = np.zeros(shape, np.int64)
    for box in boxes:
        counts[box.slices] += 1
    slices, _ = store(tensor, np.zeros(tensor.size, np.uint8), boxes)
    expected = "OVERLAP" if counts.max() > 1 else "INCOMPLETE" if counts.min() < 1 else None
    if expected is None:
        check_coverage([tensor], slices)
        return
    with pytest.raises(errors.FailedPreconditionError) as caught:
        check_coverage([tensor], slices)
    assert caught.value.reason == expected
    assert caught.value.metadata == {"group": "model", "tensor": "w"}
