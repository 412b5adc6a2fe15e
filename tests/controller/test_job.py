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
    Expire,
    Fail,
    JobProgress,
    JobState,
    Report,
    Requeue,
    Stop,
    Succeed,
    transition,
)
from tessera.controller.policy.retry import (
    BY_REASON,
    CONTROLLERS_OWN,
    MOST_FAULTS,
    action,
    as_told,
    backoff,
    faulty_nodes,
    jittered,
    may_retry,
)
from tessera.controller.policy.stop import FINAL, StopCause

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
    st.builds(
        Requeue,
        cause=st.sampled_from([cause for cause in StopCause if cause.requeues]),
        by=st.just("ada"),
        grace=st.sampled_from([0.0, 30.0, 3600.0]),
    ),
    st.builds(
        Expire,
        cause=st.sampled_from([cause for cause in StopCause if not cause.requeues]),
        message=st.just("Too long."),
    ),
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
        assert (to.stop_cause is not None) == (to.state is JobState.STOPPING)
        kinds = [c.kind for c in change.commands]
        assert (kinds == [CommandKind.STOP, CommandKind.KILL]) == to.state.ending
        stopping = at.state is JobState.STOPPING and at.stop_cause.requeues
        if stopping and to.state is not JobState.FAILED:
            assert (to.failures, to.attempt) == (at.failures, at.attempt), "free of budget"
            assert to.state is not JobState.FAILED or item.failure.category is FailureCategory.USER
        if at.stop_cause in FINAL:
            assert to.state in {JobState.FAILED, JobState.SUCCEEDED, JobState.CANCELLING}
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
        change = transition(at, Fail(failure=failure(FailureCategory.OUT_OF_MEMORY, "OOM")))
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


def running(**changed):
    return JobProgress(state=JobState.RUNNING, attempt=1, retries=1, **changed)


def stopping(cause):
    given = Requeue(cause=cause, by="ada", grace=60.0) if cause.requeues else None
    return transition(running(), given or Expire(cause=cause, message="Too long.")).position


@pytest.mark.parametrize(
    ("cause", "item", "state", "failures", "interruptions"),
    [
        (StopCause.PREEMPTED, Stop(version=4), JobState.QUEUED, 0, 1),
        (StopCause.PREEMPTED, Stop(), JobState.QUEUED, 0, 1),
        (StopCause.PAUSED, Stop(version=4), JobState.QUEUED, 0, 0),
        (StopCause.REQUEUED, Fail(failure=failure()), JobState.QUEUED, 0, 0),
        (StopCause.REQUEUED, Fail(failure=failure(FailureCategory.USER)), JobState.FAILED, 1, 0),
        (StopCause.PAUSED, Cancel(by="bob"), JobState.CANCELLING, 0, 0),
        (StopCause.PAUSED, Succeed(version=9), JobState.SUCCEEDED, 0, 0),
        (StopCause.TIME_LIMIT, Stop(version=4), JobState.FAILED, 1, 0),
        (StopCause.TIME_LIMIT, Fail(failure=failure()), JobState.FAILED, 1, 0),
        (StopCause.TIME_LIMIT, Succeed(), JobState.SUCCEEDED, 0, 0),
    ],
)
def test_what_follows_a_stop(cause, item, state, failures, interruptions):
    to = transition(stopping(cause), item).position
    assert (to.state, to.failures, to.interruptions) == (state, failures, interruptions)


def test_a_requeue_asks_now_and_kills_after_the_grace_and_is_said_once():
    asked = Requeue(cause=StopCause.PREEMPTED, by="scheduler", grace=90.0)
    change = transition(running(), asked)
    assert [(c.kind, c.delay) for c in change.commands] == [
        (CommandKind.STOP, 0.0),
        (CommandKind.KILL, 90.0),
    ]
    assert transition(change.position, asked) is None
    assert transition(JobProgress(), asked) is None


def test_a_time_limit_names_the_version():
    told = transition(stopping(StopCause.TIME_LIMIT), Stop(version=4))
    assert told.failure.reason == "TIME_LIMIT"
    assert "version 4" in told.failure.message


def test_who_waits_too_long_fails_without_an_attempt():
    late = Expire(cause=StopCause.START_DEADLINE, message="Too long.")
    assert transition(JobProgress(), late).failure.reason == "START_DEADLINE_EXCEEDED"


def test_node_faults_are_free_but_end_a_job_that_gets_no_further():
    at = JobProgress(state=JobState.QUEUED, retries=0)
    delays = []
    while not at.state.terminal:
        at = transition(at, Admit(pool="p")).position
        change = transition(at, Fail(failure=failure()))
        at = change.position
        delays.append(change.delay)
    assert (at.attempt, at.failures) == (MOST_FAULTS + 1, 0)
    assert delays[:-1] == [2.0**n for n in range(MOST_FAULTS)]


def test_a_preempted_job_is_never_given_up_but_waits_longer():
    at, delays = running(), []
    for _ in range(30):
        asked = Requeue(cause=StopCause.PREEMPTED, by="scheduler")
        change = transition(transition(at, asked).position, Stop())
        delays.append(change.delay)
        at = transition(transition(change.position, Admit(pool="p")).position, Report()).position
    assert delays[0] == 1.0
    assert delays[-1] == 600.0
    assert at.failures == 0


@given(failures)
def test_each_failure_has_an_action_and_only_node_faults_name_nodes(failed):
    follows = action(failed)
    assert not (follows.free and failed.category is not FailureCategory.WORKER_LOST)
    named = faulty_nodes(failed, {-1: "head", 0: "n0"})
    assert bool(named) == follows.blames_node


def test_a_driver_gives_no_reason_that_costs_it_nothing():
    for reason in sorted(CONTROLLERS_OWN):
        told = as_told(failure(reason=reason))
        assert not action(told).free
    lost = failure(reason="WORKER_LOST")
    assert as_told(lost) is lost
    assert BY_REASON["WORKER_LOST"].free


@given(st.floats(0, 600), st.text(max_size=20))
def test_jitter_is_the_same_each_time_and_at_most_a_quarter(delay, key):
    assert jittered(delay, key) == jittered(delay, key)
    assert 0.75 * delay <= jittered(delay, key) <= delay
