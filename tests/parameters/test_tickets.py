"""Tickets are good once, and for a while, and there are not too many of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera import errors
from tessera.parameters.tickets import Asked, Tickets

NAMES = ("a/s", "a/t", "b/s")


@given(st.lists(st.tuples(st.sampled_from(["issue", "redeem", "wait"]), st.integers(0, 9))))
def test_whatever_is_done_with_them(steps):
    now = 0.0
    tickets = Tickets(most=9, seconds=4, clock=lambda: now)
    out: dict[bytes, tuple[float, Asked]] = {}
    for kind, number in steps:
        if kind == "wait":
            now += number / 3
        elif kind == "redeem":
            ticket = [*out, bytes(32)][min(number, len(out))]
            until, asked = out.pop(ticket, (0.0, None))
            assert tickets.redeem(ticket) == (asked if until > now else None)
            assert tickets.redeem(ticket) is None
        else:
            asked = Asked(set=NAMES[number % 3], version=number, pieces=("p",))
            alive = [each for until, each in out.values() if until > now]
            same = sum(each.set == asked.set for each in alive)
            tenant = sum(each.set[0] == asked.set[0] for each in alive)
            if same < 9 - len(alive) - tenant:
                out[tickets.issue(asked)] = (now + 4, asked)
                continue
            with pytest.raises(errors.ResourceExhaustedError) as caught:
                tickets.issue(asked)
            assert caught.value.reason == "TOO_MANY_TICKETS"
        assert len(tickets) <= 9


def test_those_whose_time_is_over_make_room():
    now = 0.0
    tickets = Tickets(most=3, seconds=1, clock=lambda: now)
    asked = Asked(set="a/s")
    for _ in range(5):
        first = tickets.issue(asked)
        with pytest.raises(errors.ResourceExhaustedError):
            tickets.issue(asked)
        now += 1.5
        assert tickets.redeem(first) is None
