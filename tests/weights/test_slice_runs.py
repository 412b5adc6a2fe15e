"""Which slices are read at once."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.weights import slice_runs
from tessera.weights.slice_runs import runs


def asked(dice):
    """Slices of a piece in the order of asking: most follow one another, some are left out."""
    offsets, sizes, end = [], [], 0
    for _ in range(dice.randint(0, 60)):
        size = dice.choice([0, 1, 8, 9, 40])
        if dice.random() < 0.9:
            offsets.append(end)
            sizes.append(size)
        end += size
    if dice.random() < 0.2:
        order = list(range(len(offsets)))
        dice.shuffle(order)
        offsets, sizes = [offsets[i] for i in order], [sizes[i] for i in order]
    return offsets, sizes, [0 < size < 40 or dice.random() < 0.1 for size in sizes]


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 2**63), st.sampled_from([10, 64, 10_000]), st.sampled_from([2, 7, 1024]))
def test_a_run_is_of_small_slices_that_follow_one_another_and_not_too_long(seed, most, count):
    offsets, sizes, small = asked(random.Random(seed))
    columns = np.array(offsets, np.int64), np.array(sizes, np.int64), np.array(small, np.bool_)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slice_runs, "RUN_BYTES", most)
        patch.setattr(slice_runs, "RUN_SLICES", count)
        found = list(runs(*columns))
    assert [number for first, last in found for number in range(first, last)] == [
        *range(len(offsets))
    ]
    for first, last in found:
        assert last - first <= count
        if last - first > 1:
            assert all(small[first:last])
            assert offsets[last - 1] - offsets[first] < most
            for own, following in itertools.pairwise(range(first, last)):
                assert offsets[following] == offsets[own] + sizes[own]
    # And no shorter than it need be.
    if most == 10_000 and count == 1024:
        for (_, own), (following, _) in itertools.pairwise(found):
            joins = offsets[following] == offsets[own - 1] + sizes[own - 1]
            assert not (joins and small[own - 1] and small[following])
