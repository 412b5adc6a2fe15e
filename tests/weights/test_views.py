"""Slices that are boxes of views of their tensor, from what is pushed to what is read."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planned import check_read, store, version
from tilings import layout, of_views, reshapes

from tessera import errors
from tessera.api.parameters.v1 import manifest_pb2 as pb
from tessera.parameters.piece import digest_of
from tessera.weights import messages
from tessera.weights import plan as planner
from tessera.weights.box import Box
from tessera.weights.coverage import check_coverage
from tessera.weights.local_slice import LocalSlice, divided
from tessera.weights.manifest import SliceSpec, TensorSpec
from tessera.weights.placement import Placed, place
from tessera.weights.plan import Wanted, plan
from tessera.weights.slice_table import SliceTable
from tessera.weights.table_messages import table_to_pb

HEADS, WIDTH, RANKS = 8, 4, 2
QKV = TensorSpec(group="model", name="qkv", shape=(3 * HEADS, WIDTH), dtype="F32")
VIEW = (3, HEADS, WIDTH)
"""In which what a rank of tensor parallelism holds of the fused projection is one box."""
OWN = [Box((0, rank * HEADS // RANKS, 0), (3, HEADS // RANKS, WIDTH)) for rank in range(RANKS)]


def sent(dice, slices):
    """Slices as they are when they have been written down: by columns, one by one, or both."""
    at = dice.choice([0, len(slices), dice.randint(0, len(slices))])
    message = pb.Manifest(
        slices=map(messages.slice_to_pb, slices[:at]), tables=[table_to_pb(slices[at:])]
    )
    return messages.slices_from_pb(pb.Manifest.FromString(message.SerializeToString()))


def check_pair(seed, block):
    """Hold a tensor in boxes of some views, read it in boxes of another one."""
    dice = random.Random(seed)
    shape, asked, *views = reshapes(dice, 4)
    tensor = TensorSpec(
        group="model", name="w", shape=shape, dtype=dice.choice(["U8", "BF16", "F64"])
    )
    data = np.random.default_rng(seed).integers(0, 256, tensor.size, np.uint8)
    boxes, seen = of_views(dice, shape, views)
    slices, pieces = store(tensor, data, boxes, seen)
    check_coverage([tensor], sent(dice, slices))
    # Replicas, which overlap, are no version that is sealed, but are read all the same.
    twice = [dice.randrange(len(boxes)) for _ in range(dice.choice([0, 0, 1, 3])) if boxes]
    if twice:
        more = [boxes[n] for n in twice], [seen[n] for n in twice]
        slices, pieces = store(tensor, data, [*boxes, *more[0]], [*seen, *more[1]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "BLOCK_BYTES", block)
        stored = sent(dice, slices), pieces
        check_read(tensor, data, stored, layout(dice, asked), asked)
        check_read(tensor, data, stored, [tensor.box])


PAIRS = given(st.integers(0, 2**63), st.sampled_from([8, 64, planner.BLOCK_BYTES]))


@settings(max_examples=200, deadline=None)
@PAIRS
def test_what_is_held_in_views_is_read_in_any_other_bit_for_bit(seed, block):
    check_pair(seed, block)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=10_000, deadline=None)
@PAIRS
def test_ten_thousand_pairs_of_layouts_in_views(seed, block):
    check_pair(seed, block)


def crossing(shapes):
    """Whether an axis of one ends within one of another."""
    ends = {math.prod(shape[axis:]) for shape in shapes for axis in range(len(shape) + 1)}
    return any(a % b and b % a for a, b in itertools.combinations(ends - {0}, 2))


def any_shape(dice, size):
    """Of so many elements, whatever others there are."""
    divisors = [each for each in range(1, size + 1) if size % each == 0]
    first = dice.choice(divisors)
    return (first, size // first) if dice.random() < 0.7 else (dice.choice([1, first]), size)


def check_told(seed):
    """Coverage is whole exactly where every element was counted once."""
    dice = random.Random(seed)
    shape, *views = reshapes(dice, 3)
    size = math.prod(shape)
    boxes, seen = of_views(dice, shape, views)
    kept = dice.choice([1.0, 0.97, 0.7])
    cuts = [each for each in zip(boxes, seen, strict=True) if dice.random() < kept]
    if dice.random() < 0.4:
        other = any_shape(dice, size) if size and dice.random() < 0.5 else dice.choice(views)
        if math.prod(other) == size:
            cuts += [(box, other) for box in layout(dice, other) if dice.random() < 0.3]
    dice.shuffle(cuts)
    counts = np.zeros(size, np.int64)
    for box, view in cuts:
        counts.reshape(view or shape)[box.slices] += 1
    tensor = TensorSpec(group="model", name="w", shape=shape, dtype="U8")
    slices, _ = store(
        tensor, np.zeros(size, np.uint8), [box for box, _ in cuts], [view for _, view in cuts]
    )
    held = [shape, *(source.view or shape for source in slices)]
    expected = None
    if size and crossing(held):
        expected = "VIEW_MISMATCH"
    elif counts.max(initial=0) > 1:
        expected = "OVERLAP"
    elif counts.min(initial=1) < 1:
        expected = "INCOMPLETE"
    for form in (slices, sent(dice, slices)):
        if expected is None:
            check_coverage([tensor], form)
            continue
        with pytest.raises(errors.FailedPreconditionError) as caught:
            check_coverage([tensor], form)
        assert caught.value.reason == expected
        assert caught.value.metadata == {"group": "model", "tensor": "w"}
    return expected


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**63))
def test_coverage_is_what_counting_every_element_says(seed):
    check_told(seed)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=10_000, deadline=None)
@given(st.integers(0, 2**63))
def test_coverage_of_ten_thousand_layouts(seed):
    check_told(seed)


def test_every_answer_is_among_them():
    assert {check_told(seed) for seed in range(400)} == {
        *(None, "OVERLAP", "INCOMPLETE", "VIEW_MISMATCH"),
    }


def source(box, view, size=None):
    size = box.elements * 4 if size is None else size
    return SliceSpec(
        tensor=0, box=box, shard="s", piece="p", offset=0, size=size, checksum=0, view=view
    )


HUGE = source(Box.whole((2**40, 2**40)), (2**40, 2**40), size=4)
HALF_TWELFTHS = source(Box((0, 0, 0), (1, 12, 4)), (2, 12, 4))


@pytest.mark.parametrize(
    ("slices", "reason", "text"),
    [
        ([source(Box.whole((5, 4)), (5, 4))], "VIEW_MISMATCH", "different numbers of elements"),
        ([HUGE], "VIEW_MISMATCH", "different numbers of elements"),
        ([source(Box.whole((32, 3)), (32, 3))], "VIEW_MISMATCH", "cross"),
        # Each is a view of the tensor, but no shape refines both.
        ([HALF_TWELFTHS, source(Box((2, 0, 0), (1, 8, 4)), VIEW)], "VIEW_MISMATCH", "cross"),
        ([source(Box((0, 0), (5, 24)), (4, 24))], "BOX_OUT_OF_TENSOR", "of view [4, 24] lies out"),
        ([source(Box((0,), (96,)), VIEW)], "BOX_OUT_OF_TENSOR", "of view [3, 8, 4] has not its"),
        ([source(OWN[0], VIEW, size=4)], "SIZE_MISMATCH", "of view [3, 8, 4] came with 4 bytes"),
        ([source(OWN[0], VIEW)] * 2, "OVERLAP", "of view [3, 8, 4] and box [0, 0, 0]+"),
        ([source(OWN[0], VIEW), source(Box((0, 0), (5, 4)), None)], "OVERLAP", "overlap"),
        ([source(OWN[0], VIEW)], "INCOMPLETE", "48 of 96"),
    ],
)
def test_what_cannot_be_read_is_not_sealed(slices, reason, text):
    for form in (slices, SliceTable.of(slices)):
        with pytest.raises(errors.FailedPreconditionError) as caught:
            check_coverage([QKV], form)
        assert (caught.value.reason, text in caught.value.message) == (reason, True)


def test_a_box_that_is_tens_of_thousands_of_others_is_refused_and_not_made():
    """Of few bytes: a coordinator would have no memory left for them."""
    tensor = TensorSpec(group="model", name="w", shape=(2**24,), dtype="U8")
    fine = [(*(2,) * 15, 2**9), (2**15, *(2,) * 9)]
    held = [source(Box((1,) * 8, (6,) * 8), (8,) * 8, size=6**8)]
    held += [source(Box((0,) * len(view), (1,) * len(view)), view, size=1) for view in fine]
    with pytest.raises(errors.FailedPreconditionError, match="too many") as caught:
        check_coverage([tensor], held)
    assert caught.value.reason == "VIEW_MISMATCH"


@pytest.mark.parametrize(
    ("shape", "view", "most"),
    [
        ((2 * 4096, 64), (4096, 2, 64), 2),  # gates and values row by row: each is one block
        ((2 * 4096,), (4096, 2), 2),
        ((3 * 4096, 1024), (3, 4096, 1024), 6),  # heads: runs of memory, which are not staged
    ],
)
def test_what_lies_apart_comes_in_few_blocks(shape, view, most):
    """A reader of the tensor itself, who knows nothing of the view."""
    tensor = TensorSpec(group="model", name="w", shape=shape, dtype="U8")
    data = np.random.default_rng(0).integers(0, 256, tensor.size, np.uint8)
    boxes = [Box((0, at, *[0] * len(view[2:])), (view[0], view[1] // 2, *view[2:]))
             for at in (0, view[1] // 2)]  # fmt: skip
    stored = store(tensor, data, boxes, [view, view])
    check_read(tensor, data, stored, [tensor.box, Box((2, *[0] * len(shape[1:])), (6, *shape[1:]))])
    assert len(list(plan(version([tensor], stored[0]), [Wanted(0, tensor.box)]))) <= most


def local(box=OWN[0], view=VIEW, **more):
    data = np.zeros(box.elements * 4, np.uint8)
    return LocalSlice(
        **{"tensor": 0, "group": "model", "box": box, "data": data, "view": view, **more}
    )


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (local(view=(3, 8, 5)), "VIEW_MISMATCH"),
        (local(Box((0, 0), (1, 3)), (32, 3)), "VIEW_MISMATCH"),
        (local(Box((0, 0), (1, 3)), (-24, -4)), "VIEW_MISMATCH"),
        (local(Box((0,) * 17, (1,) * 17), (1,) * 15 + QKV.shape), "VIEW_MISMATCH"),
        (local(Box((0, 5, 0), (3, 4, 4))), "BOX_OUT_OF_TENSOR"),
        (local(Box((0, 0), (3, 4))), "BOX_OUT_OF_TENSOR"),
        (local(view=None), "BAD_SLICE"),
        (local(data=np.zeros(4, np.uint8)), "BAD_SLICE"),
        (local(tensor=1), "UNKNOWN_TENSOR"),
    ],
)
def test_what_is_no_slice_of_its_tensor_is_not_pushed(item, reason):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        divided([QKV], [item], 2)
    assert caught.value.reason == reason


def test_a_view_that_is_the_tensor_is_none():
    (item,) = divided([QKV], [local(Box((2, 0), (3, 4)), QKV.shape)], 2)
    assert (item.view, item.box) == (None, Box((2, 0), (3, 4)))


def test_a_large_slice_of_a_view_is_divided_in_the_view():
    tensor = replace(QKV, shape=(3 * 512, 1024))
    view = (3, 512, 1024)
    box = Box((0, 128, 0), (3, 256, 1024))
    whole = np.random.default_rng(1).integers(0, 256, tensor.size, np.uint8)
    data = whole.reshape(*view, 4)[box.slices].reshape(-1)
    parts = divided([tensor], [local(box, view, data=data)], 3)
    assert len(parts) > 1
    assert {part.view for part in parts} == {view}
    for part in parts:
        assert np.array_equal(part.data, whole.reshape(*view, 4)[part.box.slices].reshape(-1))
    assert sum(part.box.elements for part in parts) == box.elements


def test_what_is_placed_lies_there_in_whatever_order_it_is_given():
    shapes = [None, (2, 48), (48, 2), (96,)]
    items = [Placed(0, Box((1, 0), (1, 2)), 8, view) for view in shapes for _ in range(3)]
    names = [f"shard-{number}" for number in range(5)]
    chosen = sorted(zip(map(repr, items), place(items, names), strict=True))
    for seed in range(5):
        order = random.Random(seed).sample(items, len(items))
        assert sorted(zip(map(repr, order), place(order, names), strict=True)) == chosen


def test_a_piece_is_known_by_the_views_of_its_slices():
    plain = [replace(source(box, None), offset=48 * n) for n, box in enumerate(OWN)]
    seen = [replace(one, view=VIEW) for one in plain]
    other = [seen[0], replace(seen[1], view=(3, 4, 8))]
    digests = [digest_of(some) for some in (plain, seen, other, [plain[0], seen[1]])]
    assert len({*digests}) == 4
    # Whatever order they are told in, and whether by columns.
    assert digest_of(SliceTable.of(other[::-1])) == digests[2]
    # As it was before there were views: shards and coordinators keep it.
    old = [
        SliceSpec(
            tensor=n,
            box=Box((n, 0), (2, 3)),
            shard="shard-0",
            piece="0-model-1",
            offset=24 * n,
            size=24,
            checksum=2**63 + n,
        )
        for n in range(3)
    ]
    assert digest_of(old) == "823f4086c2659381"
