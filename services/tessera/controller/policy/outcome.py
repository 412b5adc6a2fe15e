"""What became of an attempt whose driver did not say so itself. Pure.

Only an answer of the pool decides here. That a pool cannot be reached says nothing about the job.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tessera.attempt.failure import Failure, FailureCategory
from tessera.controller.policy.job import Fail, Finish, Stop
from tessera.lines import first_line, last_line

TAIL_LINES = 40
_KILLED = frozenset({137, 143, -9, -15})
_SIGNALLED = 128
"""What exit codes of processes that a signal killed begin with."""
EX_TEMPFAIL = 75
"""By sysexits.h: it may pass."""
_MEMORY_SIGNS = ("OutOfMemoryError", "ran low on memory")


class RunStatus(Enum):
    """What the pool says of a submission."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    MISSING = "MISSING"
    """The pool answers, and does not know it."""

    @property
    def over(self) -> bool:
        """Nothing of it runs any more."""
        return self not in {RunStatus.PENDING, RunStatus.RUNNING}


@dataclass(frozen=True, slots=True, kw_only=True)
class RayJobRun:
    """A submission as the pool sees it."""

    status: RunStatus
    exit_code: int | None = None
    message: str = ""

    @property
    def hopeless(self) -> bool:
        """Whether a program failed by itself and does not say that trying again may help."""
        code = self.exit_code or 0
        by_itself = self.status is RunStatus.FAILED and 0 < code < _SIGNALLED
        return by_itself and code != EX_TEMPFAIL and not self.out_of_memory

    @property
    def out_of_memory(self) -> bool:
        """Whether its node ran out of memory."""
        return any(sign in self.message for sign in _MEMORY_SIGNS)


def decide(run: RayJobRun, *, cancelling: bool, reported: bool, log: str = "") -> Finish:
    """The outcome of an attempt that is over and has not reported one.

    Args:
        run: what the pool says; its status must be over.
        cancelling: the job was asked to end.
        reported: the driver had reported something before.
        log: what the driver printed.
    """
    if cancelling:
        return Stop()
    return Fail(failure=_failure(run, reported=reported, log=log))


def _failure(run: RayJobRun, *, reported: bool, log: str) -> Failure:
    code = run.exit_code or 0
    traceback = last_traceback(log)
    match run.status:
        case RunStatus.MISSING:
            return Failure(
                category=FailureCategory.WORKER_LOST,
                reason="PLATFORM_RESTARTED",
                message="The Ray cluster that ran the attempt was replaced.",
            )
        case RunStatus.STOPPED:
            return Failure(
                category=FailureCategory.WORKER_LOST,
                reason="DRIVER_STOPPED",
                message="The Ray job was stopped from outside.",
                exit_code=code,
            )
        case RunStatus.SUCCEEDED:
            return Failure(
                category=FailureCategory.INTERNAL,
                reason="NO_OUTCOME",
                message="The driver exited without telling the outcome.",
                traceback=traceback,
            )
    if run.exit_code is None and not reported:
        category, reason = FailureCategory.LAUNCH, "LAUNCH_FAILED"
        message = f"The driver could not be started: {first_line(run.message) or 'no message'}"
    elif run.out_of_memory:
        category, reason = FailureCategory.OUT_OF_MEMORY, "DRIVER_OUT_OF_MEMORY"
        message = "The driver's node ran out of memory."
    elif run.exit_code is None or code in _KILLED or code < 0:
        category, reason = FailureCategory.WORKER_LOST, "DRIVER_KILLED"
        message = f"The driver's process was killed (exit code {run.exit_code})."
    else:
        category, reason = FailureCategory.INTERNAL, "DRIVER_FAILED"
        message = last_line(traceback or log) or f"The driver exited with code {code}."
    return Failure(
        category=category, reason=reason, message=message, traceback=traceback, exit_code=code
    )


def last_traceback(log: str) -> str:
    """The last Python traceback of a log, or its last lines where there is none."""
    lines = log.splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("Traceback (most recent")]
    chosen = lines[starts[-1] :] if starts else lines
    return "\n".join(chosen[-TAIL_LINES:])
