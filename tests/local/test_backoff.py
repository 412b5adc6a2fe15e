"""The wait before a restart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tessera.local.backoff import FIRST_SECONDS, HEALTHY_SECONDS, MOST_SECONDS, Backoff


def test_it_doubles_and_a_long_life_forgives():
    backoff = Backoff()
    assert [backoff.died(0) for _ in range(3)] == [0.2, 0.4, 0.8]
    assert backoff.died(HEALTHY_SECONDS) == FIRST_SECONDS
    assert backoff.died(1) == 2 * FIRST_SECONDS


@given(st.lists(st.floats(0, 100), max_size=60))
def test_it_stays_within_bounds_and_grows_while_lives_are_short(lives):
    backoff, last = Backoff(), 0.0
    for life in lives:
        wait = backoff.died(life)
        assert FIRST_SECONDS <= wait <= MOST_SECONDS
        if life < HEALTHY_SECONDS:
            assert wait >= last
        last = wait
