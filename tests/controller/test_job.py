"""The state machine, whatever comes in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera import errors
from tessera.api.controller.v1 import job_pb2
from tessera.attempt.failure import Failure, FailureCategory
from tessera.controller.policy.job import (
    ACTIVE,
    TERMINAL,
    Admit,
    Cancel,
    CommandKind,
    Fail,
    JobProgress,
    JobState,
    Report,
    Stop,
    Succeed,
    transition,
)
from tessera.controller.policy.retry import backoff, may_retry

failures = st.builds(
    Failure,
    category=st.sampled_from(FailureCategory),
    reason=st.sampled_from(["DATA_EMPTY", "DRIVER_KILLED", "PLATFORM_RESTARTED"]),
    message=st.just("m"),
)
inputs = st.one_of(
    st.just(Admit(pool="p")),
    st.just(Report()),
    st.just(Cancel(by="ada")),
    st.just(Succeed(version=3)),
    st.just(Stop()),
    st.builds(Fail, failure=failures),
)


def failure(category=FailureCategory.WORKER_LOST, reason="DRIVER_KILLED"):
    return Failure(category=category, reason=reason, message="m")


@given(st.lists(inputs, max_size=40), st.integers(0, 3))
def test_no_run_breaks_the_rules(given_inputs, retries):
    at = JobProgress(state=JobState.QUEUED, retries=retries)
    terminal = 0
    for item in given_inputs:
        try:
            change = transition(at, item)
        except errors.FailedPreconditionError as error:
            assert error.reason == "ILLEGAL_TRANSITION"  # noqa: PT017 - the loop goes on after it
            continue
        if change is None:
            continue
        to = change.position
        assert not at.state.terminal, "nothing follows a terminal state"
        assert to.attempt == at.attempt + (type(item) is Admit)
        assert to.failures <= retries + 1
        assert to.retries == retries
        launches = [c for c in change.commands if c.kind is CommandKind.LAUNCH]
        assert bool(launches) == (to.state is JobState.STARTING)
        assert change.message
        if isinstance(item, Fail) and item.failure.category is FailureCategory.USER:
            assert to.state.terminal
        terminal += to.state.terminal
        at = to
    assert terminal <= 1
    assert (at.state in TERMINAL) == bool(terminal)


@given(inputs, st.sampled_from(sorted(TERMINAL, key=lambda s: s.value)))
def test_nothing_moves_an_ended_job(item, state):
    at = JobProgress(state=state, attempt=1)
    try:
        assert transition(at, item) is None
    except errors.FailedPreconditionError:
        assert not isinstance(item, Cancel)


@pytest.mark.parametrize("state", sorted(ACTIVE, key=lambda s: s.value))
def test_success_counts_even_while_cancelling(state):
    change = transition(JobProgress(state=state, attempt=1), Succeed(version=4))
    assert change.position.state is JobState.SUCCEEDED
    assert "version 4" in change.message


def test_a_failure_while_cancelling_is_a_cancelled_job():
    change = transition(
        JobProgress(state=JobState.CANCELLING, attempt=1, retries=9), Fail(failure=failure())
    )
    assert change.position.state is JobState.CANCELLED


def test_cancelling_asks_first_and_kills_later():
    change = transition(JobProgress(state=JobState.RUNNING, attempt=1), Cancel(by="ada"))
    assert [(c.kind, c.delay) for c in change.commands] == [
        (CommandKind.STOP, 0.0),
        (CommandKind.KILL, 30.0),
    ]


def test_the_budget_is_spent_and_then_the_job_fails():
    at = JobProgress(state=JobState.QUEUED, retries=2)
    delays = []
    while not at.state.terminal:
        at = transition(at, Admit(pool="p")).position
        change = transition(at, Fail(failure=failure()))
        at = change.position
        delays.append(change.delay)
    assert at.state is JobState.FAILED
    assert at.attempt == 3
    assert delays == [1.0, 2.0, 0.0]


def test_a_restarted_platform_costs_no_budget():
    at = JobProgress(state=JobState.RUNNING, attempt=1, retries=0)
    change = transition(at, Fail(failure=failure(reason="PLATFORM_RESTARTED")))
    assert change.position.state is JobState.QUEUED
    assert (change.position.failures, change.position.interruptions) == (0, 1)


def test_the_users_mistakes_are_never_repeated():
    assert not may_retry(failure(FailureCategory.USER, "DATA_EMPTY"), failures=0, retries=9)
    assert not may_retry(failure(FailureCategory.USER, "PREEMPTED"), failures=0, retries=9)


def test_backoff_grows_to_its_limit():
    assert [backoff(n) for n in (1, 2, 3, 6, 100)] == [1.0, 2.0, 4.0, 30.0, 30.0]


def test_states_and_categories_are_those_of_the_protocol():
    states = {n.removeprefix("JOB_STATE_") for n in job_pb2.JobState.DESCRIPTOR.values_by_name}
    assert states == {*JobState.__members__, "UNSPECIFIED"}
    categories = {
        n.removeprefix("FAILURE_CATEGORY_")
        for n in job_pb2.FailureCategory.DESCRIPTOR.values_by_name
    }
    assert categories == {*FailureCategory.__members__, "UNSPECIFIED"}
