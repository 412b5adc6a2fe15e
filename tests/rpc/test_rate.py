"""Token buckets: never more than their rate, always as much as it, and no memory of who is idle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera.rpc import rate
from tessera.rpc.rate import Buckets, Rate, RateLimiter

RATES = st.builds(Rate, per_second=st.sampled_from([0.5, 1.0, 8.0, 500.0]), burst=st.integers(1, 9))
PAUSES = st.lists(st.floats(0, 4, allow_subnormal=False), max_size=60)


def times(pauses):
    now, found = 0.0, []
    for pause in pauses:
        now += pause
        found.append(now)
    return found


@given(RATES, PAUSES)
def test_no_span_of_time_has_more_than_burst_and_rate_allow(limit, pauses):
    buckets = Buckets(limit)
    taken = []
    for now in times(pauses):
        if not buckets.wait("x", now):
            buckets.take("x", now)
            taken.append(now)
    for i, begin in enumerate(taken):
        for j, end in enumerate(taken[i:], 1):
            assert j <= limit.burst + limit.per_second * (end - begin) + 1e-6


@given(RATES, PAUSES)
def test_a_refusal_says_when_and_then_there_is_a_token(limit, pauses):
    buckets = Buckets(limit)
    for now in times(pauses):
        wait = buckets.wait("x", now)
        assert wait <= 1 / limit.per_second + 1e-9
        if wait > 1e-9:
            assert buckets.wait("x", now + wait) == pytest.approx(0, abs=1e-9)
            assert buckets.wait("x", now + wait / 2) > 0
        else:
            buckets.take("x", now)


@given(RATES)
def test_who_keeps_to_the_rate_is_never_refused(limit):
    limiter = RateLimiter(limit, limit)
    for number in range(50):
        assert limiter.take("a", "x", number / limit.per_second) == pytest.approx(0, abs=1e-9)


def test_a_tenant_has_a_rate_beside_its_principals():
    one = Rate(per_second=1, burst=2)
    limiter = RateLimiter(one, Rate(per_second=1, burst=3))
    assert [limiter.take("a", "x", 0) for _ in range(3)] == [0, 0, 1]
    assert [limiter.take("a", "y", 0) for _ in range(2)] == [0, 1]
    assert limiter.take("b", "x", 0) == 0
    # What was refused by the tenant took nothing of the principal.
    assert [limiter.take("a", "y", 1), limiter.take("a", "x", 2)] == [0, 0]


def test_full_buckets_are_forgotten(monkeypatch):
    monkeypatch.setattr(rate, "_SWEEP", 8)
    buckets = Buckets(Rate(per_second=10, burst=2))
    for second in range(1000):
        buckets.take(f"name {second}", second)
    assert len(buckets) <= 9
