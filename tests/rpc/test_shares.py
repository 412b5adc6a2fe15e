"""Shares: nobody keeps others out, and nothing is lost."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tessera.rpc.shares import Shares

NAMES = st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"))
MOVES = st.lists(st.tuples(st.booleans(), NAMES), max_size=200)


def greedy(shares, tenant, subject):
    """Takes what it gets; returns how many places that were."""
    taken = 0
    while shares.take(tenant, subject):
        taken += 1
    return taken


@given(st.integers(1, 40), MOVES)
def test_what_is_taken_is_counted_and_never_more_than_there_is(capacity, moves):
    shares, held = Shares(capacity), Counter()
    for takes, name in moves:
        if takes:
            tenant = sum(n for (other, _), n in held.items() if other == name[0])
            may = held[name] < capacity - held.total() - tenant
            assert shares.take(*name) == may
            held[name] += may
        elif held[name]:
            shares.give(*name)
            held[name] -= 1
        assert shares.taken == held.total() <= capacity
    for name in held.elements():
        shares.give(*name)
    assert shares.taken == 0
    assert not shares._tenants
    assert not shares._principals


@given(st.integers(2, 5000))
def test_a_principal_alone_gets_a_third_and_a_tenant_of_many_a_half(capacity):
    shares = Shares(capacity)
    assert greedy(shares, "a", "x") == -(-capacity // 3)
    for index in range(capacity):
        greedy(shares, "a", f"x{index}")
    assert abs(shares.taken - capacity / 2) <= 1


@given(st.integers(1, 6), st.integers(1, 4), st.integers(4, 8))
def test_whoever_comes_next_finds_a_place(tenants, principals, bits):
    shares = Shares(2**bits * (tenants + 1))
    for tenant in range(tenants):
        for subject in range(principals):
            greedy(shares, f"t{tenant}", f"p{subject}")
        assert shares.take(f"new {tenant}", "x")
        shares.give(f"new {tenant}", "x")


def test_a_place_that_is_given_back_can_be_taken():
    shares = Shares(3)
    assert shares.take("a", "x")
    assert not shares.take("a", "x")
    shares.give("a", "x")
    assert shares.take("a", "x")
