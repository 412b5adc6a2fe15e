"""What a job is, and the state machine that it lives by. Pure.

QUEUED ──admit──► STARTING ──report──► RUNNING ──finish──► SUCCEEDED | FAILED | CANCELLED
  ▲  │               │ │                 │ │
  │  └─cancel─► CANCELLED               │ │
  │                  │ └────cancel────► CANCELLING ──finish──► CANCELLED | SUCCEEDED
  ├─────retry────────┴───────────────────┤
  │                                requeue, expire
  └─────stop, by a requeue──────────── STOPPING ──finish──► FAILED | SUCCEEDED, or as cancelled

An attempt that is STOPPING was asked to commit a version and go. Holds are no states: a queued
job with one is not scheduled (`records.JobHold`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from tessera import errors
from tessera.attempt.failure import Failure, FailureCategory
from tessera.controller.policy.retry import action, backoff, may_retry
from tessera.controller.policy.stop import FINAL, StopCause

STOP_GRACE = 30.0
"""Seconds between asking an attempt to stop and ending its Ray job."""


class JobState(Enum):
    """Where a job stands."""

    QUEUED = "QUEUED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def terminal(self) -> bool:
        """Nothing follows it."""
        return self in TERMINAL

    @property
    def ending(self) -> bool:
        """Its attempt was asked to end."""
        return self in {JobState.STOPPING, JobState.CANCELLING}


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
ACTIVE = frozenset({JobState.STARTING, JobState.RUNNING, JobState.STOPPING, JobState.CANCELLING})
"""States in which a job has an unfinished attempt."""


class CommandKind(Enum):
    """What the controller must do outside its store."""

    LAUNCH = "launch"
    STOP = "stop"
    KILL = "kill"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One thing to do, not before `delay` seconds from now."""

    kind: CommandKind
    delay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Admit:
    """The scheduler found room on a pool."""

    pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The attempt has reported for the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Somebody asked the job to end."""

    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeed:
    """The attempt ended well."""

    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The attempt ended because it was asked to."""

    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """The attempt failed."""

    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeue:
    """The attempt is to commit a version and go, and the job back to the queue.

    `cause` is one that requeues; `grace` is in seconds: after it the Ray job is ended.
    """

    cause: StopCause
    by: str
    message: str = ""
    grace: float = STOP_GRACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Expire:
    """A limit in time has passed: `cause` says which; `message` is told of the failure."""

    cause: StopCause
    message: str
    grace: float = STOP_GRACE


Input = Admit | Report | Cancel | Succeed | Stop | Fail | Requeue | Expire
Finish = Succeed | Stop | Fail


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """The part of a job that transitions read.

    `attempt` is the number of the newest attempt (0: none); `failures` counts those that cost
    budget; `interruptions` those that did not, and `streak` those of them in a row that no new
    version lies between; `stop_cause` says why it is STOPPING, and
    `stop_message` is what is told of it.
    """

    state: JobState = JobState.QUEUED
    attempt: int = 0
    failures: int = 0
    interruptions: int = 0
    retries: int = 0
    streak: int = 0
    stop_cause: StopCause | None = None
    stop_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """What follows from an input; written to the store in one transaction."""

    position: JobProgress
    message: str
    commands: tuple[Command, ...] = ()
    failure: Failure | None = None
    delay: float = 0.0
    details: Mapping[str, object] = field(default_factory=dict)


def transition(progress: JobProgress, event: Input) -> Transition | None:
    """The transition that an input causes; None: it changes nothing.

    Raises:
        FailedPreconditionError: the input does not belong to the state (ILLEGAL_TRANSITION).
    """
    match event:
        case Admit():
            return _admit(progress, event)
        case Report():
            return _report(progress)
        case Cancel():
            return _cancel(progress, event)
        case Succeed() | Stop() | Fail():
            return _finish(progress, event)
        case Requeue():
            return _requeue(progress, event)
        case Expire():
            return _expire(progress, event)


def _admit(progress: JobProgress, event: Admit) -> Transition:
    _only(progress, event, JobState.QUEUED)
    number = progress.attempt + 1
    return Transition(
        position=_moved(progress, JobState.STARTING, attempt=number),
        message=f"Attempt {number} starts on pool {event.pool}.",
        commands=(Command(kind=CommandKind.LAUNCH),),
        details={"pool": event.pool},
    )


def _report(progress: JobProgress) -> Transition | None:
    if progress.state is JobState.RUNNING or progress.state.ending:
        return None
    _only(progress, Report(), JobState.STARTING)
    return Transition(
        position=_moved(progress, JobState.RUNNING), message=f"Attempt {progress.attempt} runs."
    )


def _cancel(progress: JobProgress, event: Cancel) -> Transition | None:
    if progress.state.terminal or progress.state is JobState.CANCELLING:
        return None
    if progress.state is JobState.QUEUED:
        return Transition(
            position=_moved(progress, JobState.CANCELLED),
            message=f"Cancelled by {event.by} while it waited.",
        )
    return Transition(
        position=_moved(progress, JobState.CANCELLING),
        message=f"Cancellation was asked for by {event.by}.",
        commands=_stop_within(STOP_GRACE),
    )


def _requeue(progress: JobProgress, event: Requeue) -> Transition | None:
    if not event.cause.requeues:
        raise ValueError(f"{event.cause.value} sends no job back to the queue")
    if progress.state is JobState.QUEUED or progress.state.ending:
        return None
    _only(progress, event, JobState.STARTING, JobState.RUNNING)
    why = f": {event.message}" if event.message else "."
    return Transition(
        position=_moved(progress, JobState.STOPPING, stop=(event.cause, event.message)),
        message=f"Attempt {progress.attempt} is to commit a version and stop, "
        f"{event.cause.value} by {event.by}{why}",
        commands=_stop_within(event.grace),
        details={"cause": event.cause.value, "by": event.by, "grace": event.grace},
    )


def _expire(progress: JobProgress, event: Expire) -> Transition | None:
    if event.cause.requeues:
        raise ValueError(f"{event.cause.value} is no limit in time")
    if progress.state.ending:
        return None
    if event.cause is StopCause.START_DEADLINE and progress.state is JobState.QUEUED:
        failed = _expired(event.cause, event.message)
        return Transition(
            position=_moved(progress, JobState.FAILED),
            message=f"{failed.reason}: {failed.message}",
            failure=failed,
            details={"reason": failed.reason, "category": failed.category.value},
        )
    _only(progress, event, JobState.STARTING, JobState.RUNNING)
    return Transition(
        position=_moved(progress, JobState.STOPPING, stop=(event.cause, event.message)),
        message=f"Attempt {progress.attempt} is to stop: {event.message}",
        commands=_stop_within(event.grace),
        details={"cause": event.cause.value, "grace": event.grace},
    )


def _stop_within(grace: float) -> tuple[Command, ...]:
    return (Command(kind=CommandKind.STOP), Command(kind=CommandKind.KILL, delay=grace))


def _expired(cause: StopCause, message: str) -> Failure:
    """What is told of an attempt that a limit ended; one that the user set is not retried."""
    stalled = cause is StopCause.STALLED
    category = FailureCategory.WORKER_LOST if stalled else FailureCategory.USER
    return Failure(category=category, reason=cause.value, message=message)


def _finish(progress: JobProgress, event: Finish) -> Transition:
    _only(progress, event, *ACTIVE)
    match event:
        case Succeed():
            return Transition(
                position=_moved(progress, JobState.SUCCEEDED),
                message=_with_version(f"Attempt {progress.attempt} ended well", event.version),
                details={"version": event.version},
            )
        case Stop():
            return _stopped(progress, event.version)
        case Fail() if progress.stop_cause in FINAL:
            # Whatever it died of on its way out: it was to end, and for good.
            return _stopped(progress, 0)
        case Fail():
            return _fail(progress, event.failure)


def _stopped(progress: JobProgress, version: int) -> Transition:
    told = _with_version(f"Attempt {progress.attempt} stopped as asked", version)
    cause = progress.stop_cause
    if progress.state is not JobState.STOPPING or cause is None:
        return Transition(
            position=_moved(progress, JobState.CANCELLED),
            message=told,
            details={"version": version},
        )
    if cause.requeues:
        return _back(progress, told, {"version": version, "cause": cause.value})
    left = f" It committed version {version}." if version else ""
    return _fail(progress, _expired(cause, f"{progress.stop_message}{left}"))


def _back(
    progress: JobProgress,
    told: str,
    details: Mapping[str, object],
    failure: Failure | None = None,
) -> Transition:
    """To the queue again, free of budget; who is preempted again and again waits longer."""
    preempted = progress.stop_cause is StopCause.PREEMPTED
    streak = progress.streak + preempted
    return Transition(
        position=_moved(
            progress,
            JobState.QUEUED,
            interruptions=progress.interruptions + preempted,
            streak=streak,
        ),
        message=f"{told} The job waits again.",
        failure=failure,
        delay=backoff(streak, free=True) if preempted else 0.0,
        details=details,
    )


def _fail(progress: JobProgress, failure: Failure) -> Transition:
    told = f"Attempt {progress.attempt} failed: {failure.reason}: {failure.message}"
    details = {"reason": failure.reason, "category": failure.category.value, "rank": failure.rank}
    if progress.state is JobState.CANCELLING:
        return Transition(
            position=_moved(progress, JobState.CANCELLED),
            message=told,
            failure=failure,
            details=details,
        )
    cause = progress.stop_cause
    if cause is not None and cause.requeues and failure.category is not FailureCategory.USER:
        return _back(progress, told, details, failure)
    free = action(failure).free
    after = _moved(
        progress,
        JobState.FAILED,
        failures=progress.failures + (not free),
        interruptions=progress.interruptions + free,
        streak=progress.streak + free,
    )
    if not may_retry(
        failure,
        failures=progress.failures,
        retries=progress.retries,
        streak=progress.streak,
    ):
        return Transition(position=after, message=told, failure=failure, details=details)
    delay = backoff(after.streak if free else after.failures, free=free)
    budget = "" if free else f" ({after.failures} of {progress.retries} retries used)"
    return Transition(
        position=_moved(after, JobState.QUEUED),
        message=f"{told} It is tried again{budget}.",
        failure=failure,
        delay=delay,
        details=details,
    )


def _with_version(text: str, version: int) -> str:
    return f"{text} at version {version}." if version else f"{text}."


def _only(progress: JobProgress, event: Input, *states: JobState) -> None:
    if progress.state not in states:
        raise errors.FailedPreconditionError(
            f"a job that is {progress.state.value} takes no {type(event).__name__}",
            reason="ILLEGAL_TRANSITION",
        )


def _moved(
    progress: JobProgress,
    state: JobState,
    *,
    stop: tuple[StopCause | None, str] = (None, ""),
    **counts: int,
) -> JobProgress:
    """In another state; `counts` are the fields of that name, those not given stay."""
    cause, message = stop
    stopping = replace(progress, state=state, stop_cause=cause, stop_message=message)
    return replace(stopping, **counts)  # type: ignore[arg-type]
