"""Limits of callers: who is counted as whom, and what a refusal says."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tessera import errors
from tessera.rpc.limits import CallLimiter, CallLimits, refused_at_door
from tessera.rpc.policy import cost
from tessera.rpc.policy.table import TABLE
from tessera.rpc.principal import ANONYMOUS, Principal, Role
from tessera.rpc.rate import Rate

CREATE = "/tessera.api.controller.v1.JobService/CreateJob"
WATCH = "/tessera.api.controller.v1.JobService/WatchJob"
HEALTH = "/grpc.health.v1.Health/Check"
ADA = Principal(subject="ada", role=Role.SUBMITTER, tenant="a")


def limiter(clock=lambda: 0.0, largest=4 << 20, **limits):
    return CallLimiter(CallLimits(**limits), largest, clock)


def fill(limited, method, caller, peer="ipv4:1.1.1.1:1"):
    """Calls under way until one is refused; returns them and the refusal."""
    calls = ExitStack()
    for number in range(10_000):
        try:
            calls.enter_context(limited.under_way(method, caller, lambda: peer))
        except errors.ResourceExhaustedError as error:
            return calls, number, error
    raise AssertionError("nothing was refused")


def test_every_named_method_has_a_row():
    assert TABLE.keys() >= cost.LARGER.keys() | cost.MAKES
    default = cost.MessageLimits()
    assert min(map(default.of, cost.LARGER)) > default.bytes


def test_a_call_too_many_is_refused_until_one_ends():
    limited = limiter(calls=9)
    calls, number, error = fill(limited, WATCH, ADA)
    assert (number, error.reason, error.retry_after) == (3, "TOO_MANY_CALLS", 1.0)
    assert refused_at_door(error)
    calls.close()
    with limited.under_way(WATCH, ADA, str):
        pass


def test_a_call_that_fails_gives_its_place_back():
    limited = limiter(calls=3)
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), limited.under_way(WATCH, ADA, str):
            raise ZeroDivisionError


def test_calls_that_make_something_have_a_rate_and_others_have_none():
    now = [0.0]
    limited = limiter(lambda: now[0], principal=Rate(per_second=4, burst=2))
    for _ in range(20):
        with limited.under_way(WATCH, ADA, str):
            pass
    for _ in range(2):
        with limited.under_way(CREATE, ADA, str):
            pass
    with pytest.raises(errors.ResourceExhaustedError) as caught:
        limited.under_way(CREATE, ADA, str).__enter__()
    assert (caught.value.reason, caught.value.retry_after) == ("RATE_LIMITED", 0.25)
    now[0] = 0.25
    with limited.under_way(CREATE, ADA, str):
        pass


def test_the_platform_itself_is_not_limited():
    limited = limiter(calls=1)
    shard = Principal(subject="shard", role=Role.SHARD, tenant="")
    with ExitStack() as calls:
        for _ in range(100):
            calls.enter_context(limited.under_way(CREATE, shard, str))


def test_callers_without_a_token_are_told_apart_by_host_and_keep_nobody_else_out():
    limited = limiter(calls=9)
    calls, number, _ = fill(limited, HEALTH, ANONYMOUS)
    assert number == 22
    with limited.under_way(HEALTH, ANONYMOUS, lambda: "ipv4:2.2.2.2:1"):
        pass
    with pytest.raises(errors.ResourceExhaustedError):
        limited.under_way(HEALTH, ANONYMOUS, lambda: "ipv4:1.1.1.1:99").__enter__()
    with limited.under_way(WATCH, ADA, lambda: "ipv4:1.1.1.1:1"):
        pass
    calls.close()


def test_the_larger_its_messages_the_fewer_callers_without_a_token_a_server_has():
    _, few, _ = fill(limiter(largest=64 << 20), HEALTH, ANONYMOUS)
    _, many, _ = fill(limiter(), HEALTH, ANONYMOUS)
    assert (few, many) == (2, 22)
