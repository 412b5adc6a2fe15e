"""Failures as messages and back."""

from __future__ import annotations

from tessera.api.controller.v1 import job_pb2
from tessera.trainer.failure import Category, Failure

_CATEGORIES = {
    Category.USER: job_pb2.FAILURE_CATEGORY_USER,
    Category.OUT_OF_MEMORY: job_pb2.FAILURE_CATEGORY_OUT_OF_MEMORY,
    Category.WORKER_LOST: job_pb2.FAILURE_CATEGORY_WORKER_LOST,
    Category.LAUNCH: job_pb2.FAILURE_CATEGORY_LAUNCH,
    Category.INTERNAL: job_pb2.FAILURE_CATEGORY_INTERNAL,
}
_BACK = {number: category for category, number in _CATEGORIES.items()}


def failure_message(failure: Failure) -> job_pb2.Failure:
    """The message of a failure."""
    return job_pb2.Failure(
        category=_CATEGORIES[failure.category],
        reason=failure.reason,
        message=failure.message,
        rank=failure.rank,
        traceback=failure.traceback,
    )


def failure_of(message: job_pb2.Failure, *, collateral: bool) -> Failure:
    """The failure that a message tells."""
    return Failure(
        category=_BACK.get(message.category, Category.INTERNAL),
        reason=message.reason,
        message=message.message,
        rank=message.rank,
        traceback=message.traceback,
        collateral=collateral,
    )
