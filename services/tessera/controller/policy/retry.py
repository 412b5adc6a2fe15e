"""Why attempts fail and what follows: the retry policy. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

FREE_REASONS = frozenset({"PLATFORM_RESTARTED", "PREEMPTED"})
"""Interruptions by the platform itself: always repeated, at no cost of budget."""

MAX_BACKOFF = 30.0


class FailureCategory(Enum):
    """What kind of failure it was."""

    USER = "USER"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    WORKER_LOST = "WORKER_LOST"
    LAUNCH = "LAUNCH"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an attempt failed; `rank` is -1 where none is guilty."""

    category: FailureCategory
    reason: str
    message: str
    rank: int = -1
    traceback: str = ""
    exit_code: int = 0


def is_free(failure: Failure) -> bool:
    """Whether the failure costs no retry."""
    return failure.reason in FREE_REASONS and failure.category is not FailureCategory.USER


def may_retry(failure: Failure, *, failures: int, retries: int) -> bool:
    """Whether another attempt follows; `failures` counts the earlier ones that cost budget."""
    if failure.category is FailureCategory.USER:
        return False
    return is_free(failure) or failures < retries


def backoff(failures: int, *, free: bool = False) -> float:
    """Seconds to wait before the next attempt: 1, 2, 4 … 30; an interruption waits 1."""
    if free:
        return 1.0
    return min(MAX_BACKOFF, 2.0 ** max(0, min(failures, 16) - 1))
