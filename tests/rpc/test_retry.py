"""Pauses between tries."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera.rpc.retry import Pauses, Retry


@given(st.floats(0.01, 1), st.floats(1, 100), st.integers(1, 2000))
def test_pauses_double_up_to_the_longest(first, longest, failures):
    pauses = Pauses(first=first, longest=longest)
    waits = [pauses.failed() for _ in range(failures)]
    assert waits[0] == first
    for wait, following in pairwise(waits):
        assert following == min(longest, 2 * wait)
    pauses.forgive()
    assert pauses.failed() == first


@pytest.mark.measures
def test_patience_ends():
    retry, begin, tries = Retry(0.2, first=0.02), time.monotonic(), 1
    while retry.again():
        tries += 1
    assert 3 <= tries <= 4
    assert time.monotonic() - begin <= 0.2 + 0.1


def test_without_patience_there_is_one_try():
    assert not Retry(0.0).again()


def test_patience_may_begin_with_the_failure_and_anew_after_a_success():
    retry = Retry(0.1, first=0.06, from_failure=True)
    time.sleep(0.15)
    assert retry.again()
    assert not retry.again()
    retry.succeeded()
    assert retry.again()
