"""What a job is, and the state machine that it lives by: pure, no store and no clock.

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
from tessera.controller.retry import Failure, backoff, is_free, may_retry

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
class Position:
    """The part of a job that transitions read.

    `attempt` is the number of the newest attempt (0: none); `failures` counts those that cost
    budget; `interruptions` those that did not.
    """

    state: JobState
    attempt: int = 0
    failures: int = 0
    interruptions: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """What follows from an input; written to the store in one transaction."""

    position: Position
    message: str
    commands: tuple[Command, ...] = ()
    failure: Failure | None = None
    delay: float = 0.0
    details: Mapping[str, object] = field(default_factory=dict)


def step(at: Position, given: Input) -> Transition | None:
    """The transition that an input causes; None: it changes nothing.

    Raises:
        FailedPreconditionError: the input does not belong to the state (ILLEGAL_TRANSITION).
    """
    match given:
        case Admit():
            return _admit(at, given)
        case Report():
            return _report(at)
        case Cancel():
            return _cancel(at, given)
        case Succeed() | Stop() | Fail():
            return _finish(at, given)


def _admit(at: Position, given: Admit) -> Transition:
    _only(at, given, JobState.QUEUED)
    number = at.attempt + 1
    return Transition(
        position=_moved(at, JobState.STARTING, attempt=number),
        message=f"Attempt {number} starts on pool {given.pool}.",
        commands=(Command(kind=CommandKind.LAUNCH),),
        details={"pool": given.pool},
    )


def _report(at: Position) -> Transition | None:
    if at.state in {JobState.RUNNING, JobState.CANCELLING}:
        return None
    _only(at, Report(), JobState.STARTING)
    return Transition(position=_moved(at, JobState.RUNNING), message=f"Attempt {at.attempt} runs.")


def _cancel(at: Position, given: Cancel) -> Transition | None:
    if at.state.terminal or at.state is JobState.CANCELLING:
        return None
    if at.state is JobState.QUEUED:
        return Transition(
            position=_moved(at, JobState.CANCELLED),
            message=f"Cancelled by {given.by} while it waited.",
        )
    return Transition(
        position=_moved(at, JobState.CANCELLING),
        message=f"Cancellation was asked for by {given.by}.",
        commands=(
            Command(kind=CommandKind.STOP),
            Command(kind=CommandKind.KILL, delay=STOP_GRACE),
        ),
    )


def _finish(at: Position, given: Finish) -> Transition:
    _only(at, given, *ACTIVE)
    match given:
        case Succeed():
            return Transition(
                position=_moved(at, JobState.SUCCEEDED),
                message=_with_version(f"Attempt {at.attempt} ended well", given.version),
                details={"version": given.version},
            )
        case Stop():
            return Transition(
                position=_moved(at, JobState.CANCELLED),
                message=_with_version(f"Attempt {at.attempt} stopped as asked", given.version),
                details={"version": given.version},
            )
        case Fail():
            return _fail(at, given.failure)


def _fail(at: Position, failure: Failure) -> Transition:
    told = f"Attempt {at.attempt} failed: {failure.reason}: {failure.message}"
    details = {"reason": failure.reason, "category": failure.category.value, "rank": failure.rank}
    if at.state is JobState.CANCELLING:
        return Transition(
            position=_moved(at, JobState.CANCELLED), message=told, failure=failure, details=details
        )
    free = is_free(failure)
    after = _moved(
        at,
        JobState.FAILED,
        failures=at.failures + (not free),
        interruptions=at.interruptions + free,
    )
    if not may_retry(failure, failures=at.failures, retries=at.retries):
        return Transition(position=after, message=told, failure=failure, details=details)
    delay = backoff(after.failures, free=free)
    budget = "" if free else f" ({after.failures} of {at.retries} retries used)"
    return Transition(
        position=_moved(after, JobState.QUEUED),
        message=f"{told} It is tried again{budget}.",
        failure=failure,
        delay=delay,
        details=details,
    )


def _with_version(text: str, version: int) -> str:
    return f"{text} at version {version}." if version else f"{text}."


def _only(at: Position, given: Input, *states: JobState) -> None:
    if at.state not in states:
        raise errors.FailedPreconditionError(
            f"a job that is {at.state.value} takes no {type(given).__name__}",
            reason="ILLEGAL_TRANSITION",
        )


def _moved(
    at: Position,
    state: JobState,
    *,
    attempt: int | None = None,
    failures: int | None = None,
    interruptions: int | None = None,
) -> Position:
    return Position(
        state=state,
        attempt=at.attempt if attempt is None else attempt,
        failures=at.failures if failures is None else failures,
        interruptions=at.interruptions if interruptions is None else interruptions,
        retries=at.retries,
    )
