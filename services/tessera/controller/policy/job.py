"""What a job is, and the state machine that it lives by. Pure.

QUEUED ──admit──► STARTING ──report──► RUNNING ──finish──► SUCCEEDED | FAILED | CANCELLED
  ▲  │               │ │                 │ │
  │  └─cancel─► CANCELLED               │ │
  │                  │ └────cancel────► CANCELLING ──finish──► CANCELLED | SUCCEEDED
  └─────retry────────┴───────────────────┘
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from tessera import errors
from tessera.attempt.failure import Failure
from tessera.controller.policy.retry import backoff, is_free, may_retry

STOP_GRACE = 30.0
"""Seconds between asking an attempt to stop and ending its Ray job."""


class JobState(Enum):
    """Where a job stands."""

    QUEUED = "QUEUED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def terminal(self) -> bool:
        """Nothing follows it."""
        return self in TERMINAL


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
ACTIVE = frozenset({JobState.STARTING, JobState.RUNNING, JobState.CANCELLING})
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


Input = Admit | Report | Cancel | Succeed | Stop | Fail
Finish = Succeed | Stop | Fail


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """The part of a job that transitions read.

    `attempt` is the number of the newest attempt (0: none); `failures` counts those that cost
    budget; `interruptions` those that did not.
    """

    state: JobState = JobState.QUEUED
    attempt: int = 0
    failures: int = 0
    interruptions: int = 0
    retries: int = 0


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
    if progress.state in {JobState.RUNNING, JobState.CANCELLING}:
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
        commands=(
            Command(kind=CommandKind.STOP),
            Command(kind=CommandKind.KILL, delay=STOP_GRACE),
        ),
    )


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
            return Transition(
                position=_moved(progress, JobState.CANCELLED),
                message=_with_version(
                    f"Attempt {progress.attempt} stopped as asked", event.version
                ),
                details={"version": event.version},
            )
        case Fail():
            return _fail(progress, event.failure)


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
    free = is_free(failure)
    after = _moved(
        progress,
        JobState.FAILED,
        failures=progress.failures + (not free),
        interruptions=progress.interruptions + free,
    )
    if not may_retry(failure, failures=progress.failures, retries=progress.retries):
        return Transition(position=after, message=told, failure=failure, details=details)
    delay = backoff(after.failures, free=free)
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
    attempt: int | None = None,
    failures: int | None = None,
    interruptions: int | None = None,
) -> JobProgress:
    return JobProgress(
        state=state,
        attempt=progress.attempt if attempt is None else attempt,
        failures=progress.failures if failures is None else failures,
        interruptions=progress.interruptions if interruptions is None else interruptions,
        retries=progress.retries,
    )
