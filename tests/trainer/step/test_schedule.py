"""The learning rate over a run."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera.trainer.step.schedule import Schedule


def test_the_rate_rises_to_its_peak_and_falls_to_its_floor():
    schedule = Schedule(steps=100, warmup=10, peak=1.0, floor=0.1)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[99] == pytest.approx(0.1)
    assert all(a < b for a, b in itertools.pairwise(rates[:10]))
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert rates[54] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 44 / 89)))


@given(st.integers(1, 50), st.integers(0, 60))
def test_every_rate_is_within_bounds(steps, warmup):
    schedule = Schedule(steps=steps, warmup=warmup, peak=2.0, floor=0.5)
    for step in range(steps):
        assert 0 < schedule.rate(step) <= 2.0
