"""What follows when an attempt fails: the retry policy. Pure."""

from __future__ import annotations

from tessera.attempt.failure import Failure, FailureCategory

FREE_REASONS = frozenset({"PLATFORM_RESTARTED", "PREEMPTED"})
"""Interruptions by the platform itself: always repeated, at no cost of budget."""

MAX_BACKOFF = 30.0


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
