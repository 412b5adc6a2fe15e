"""What follows when an attempt fails: an action for each kind of failure. Pure.

What a user's program or spec did costs retries; what the platform or a node did does not. But
what ends again and again without a new version is waited for longer and longer, and node faults
then end the job: a program may well be what kills its nodes.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from tessera.attempt.failure import Failure, FailureCategory

MOST_FAULTS = 8
"""Free failures in a row, without a new version between them, after which one ends the job."""

MAX_BACKOFF = 30.0
MAX_LOOP_BACKOFF = 600.0
"""Seconds that a job which is interrupted again and again waits at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryAction:
    """What follows from a failure.

    Args:
        retried: another attempt follows, while there is budget.
        free: it costs none of the job's `retries`, and is bounded by MOST_FAULTS.
        blames_node: the node of the rank at fault is avoided.
    """

    retried: bool = True
    free: bool = False
    blames_node: bool = False


_NEVER = RetryAction(retried=False)
_BUDGET = RetryAction()
_FREE = RetryAction(free=True)
_NODE = RetryAction(free=True, blames_node=True)

BY_CATEGORY: Mapping[FailureCategory, RetryAction] = {
    FailureCategory.USER: _NEVER,
    FailureCategory.OUT_OF_MEMORY: _BUDGET,
    FailureCategory.WORKER_LOST: _BUDGET,
    FailureCategory.LAUNCH: _BUDGET,
    FailureCategory.INTERNAL: _BUDGET,
}
"""What follows where the reason says nothing else."""

BY_REASON: Mapping[str, RetryAction] = {
    "WORKER_LOST": _NODE,
    "DRIVER_KILLED": _NODE,
    "NODE_LOST": _NODE,
    "PLATFORM_RESTARTED": _FREE,
    "CONTACT_LOST": _FREE,
    "POOL_GONE": _FREE,
    "PREEMPTED": _FREE,
}
"""Of failures of category WORKER_LOST: a process, a node or a whole pool went away."""

CONTROLLERS_OWN = frozenset(
    {
        *(BY_REASON.keys() - {"WORKER_LOST"}),
        "TIME_LIMIT",
        "START_DEADLINE_EXCEEDED",
        "STALLED",
    }
)
"""Reasons that only the controller may give: a driver that names one is not believed."""


def action(failure: Failure) -> RetryAction:
    """What follows from a failure."""
    if failure.category is FailureCategory.WORKER_LOST and failure.reason in BY_REASON:
        return BY_REASON[failure.reason]
    return BY_CATEGORY[failure.category]


def may_retry(failure: Failure, *, failures: int, retries: int, streak: int = 0) -> bool:
    """Whether another attempt follows.

    Args:
        failure: of the attempt.
        failures: earlier ones that cost budget.
        retries: the budget.
        streak: earlier ends in a row that cost none, without a new version between them.
    """
    follows = action(failure)
    if follows.free:
        return streak < MOST_FAULTS
    return follows.retried and failures < retries


def faulty_nodes(failure: Failure, assignment: Mapping[int, str]) -> tuple[str, ...]:
    """Nodes that are to be avoided after a failure.

    Args:
        failure: of the attempt.
        assignment: the node of each rank; -1: of the driver.
    """
    if not action(failure).blames_node or failure.rank not in assignment:
        return ()
    return (assignment[failure.rank],)


def backoff(failures: int, *, free: bool = False) -> float:
    """Seconds to wait before the next attempt: 1, 2, 4 … 30; of what costs no budget … 600."""
    most = MAX_LOOP_BACKOFF if free else MAX_BACKOFF
    return min(most, 2.0 ** max(0, min(failures, 16) - 1))


def jittered(delay: float, key: str) -> float:
    """Three quarters of a delay up to all of it, always the same for a key.

    Jobs that fell together do not all come back at once.
    """
    return delay * (1.0 - 0.25 * (zlib.crc32(key.encode()) % 1024) / 1023)


def as_told(failure: Failure) -> Failure:
    """What a driver tells, without a reason that is not a driver's to give."""
    if failure.reason not in CONTROLLERS_OWN:
        return failure
    return Failure(
        category=failure.category,
        reason=f"DRIVER_TOLD_{failure.reason}",
        message=failure.message,
        rank=failure.rank,
        traceback=failure.traceback,
        exit_code=failure.exit_code,
    )
