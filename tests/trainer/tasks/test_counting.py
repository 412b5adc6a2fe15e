"""Baselines that counting gives."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.trainer.tasks.counting import bigram_loss


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=2, max_size=60), st.lists(st.integers(0, 6), min_size=2)
)
def test_the_bigram_baseline_is_what_counting_says(train, held_out):
    pairs, seen = Counter(itertools.pairwise(train)), Counter(train[:-1])
    expected = np.mean(
        [-math.log((pairs[a, b] + 1) / (seen[a] + 7)) for a, b in itertools.pairwise(held_out)]
    )
    found = bigram_loss(
        np.array(train, dtype=np.uint16), np.array(held_out[:-1]), np.array(held_out[1:]), 7
    )
    assert found == pytest.approx(expected)
