"""Progress and failures as messages and back."""

from __future__ import annotations

from tessera import validation
from tessera.api.controller.v1 import job_pb2 as pb
from tessera.attempt.failure import Failure, FailureCategory
from tessera.attempt.progress import Progress

MAX_DETAILS = 65536
"""Bytes of the details of one event, as a message: what people and tools read, not data."""

_CATEGORIES = {
    category: pb.FailureCategory.Value(f"FAILURE_CATEGORY_{category.name}")
    for category in FailureCategory
}
_BACK = {number: category for category, number in _CATEGORIES.items()}


def failure_to_pb(value: Failure) -> pb.Failure:
    """The message of a failure, its texts cut to their limits."""
    return validation.fit(
        pb.Failure(
            category=_CATEGORIES[value.category],
            reason=value.reason,
            message=value.message,
            rank=value.rank,
            traceback=value.traceback,
            exit_code=value.exit_code,
        )
    )


def failure_from_pb(message: pb.Failure) -> Failure:
    """The failure that a message tells; a category that is not known is INTERNAL."""
    return Failure(
        category=_BACK.get(message.category, FailureCategory.INTERNAL),
        reason=message.reason or "UNKNOWN",
        message=message.message,
        rank=message.rank,
        traceback=message.traceback,
        exit_code=message.exit_code,
    )


def progress_to_pb(value: Progress) -> pb.Progress:
    """The message of progress, its names cut to their limits."""
    return validation.fit(
        pb.Progress(
            step=value.step,
            total_steps=value.total_steps,
            loss=value.loss,
            held_out_loss=value.held_out_loss,
            baseline_loss=value.baseline_loss,
            tokens_per_second=value.tokens_per_second,
            seconds_left=value.seconds_left,
            version=value.version,
            phase=value.phase,
            metrics=value.metrics,
            epoch=value.epoch,
            examples=value.examples,
            held_out_examples=value.held_out_examples,
            steps_per_epoch=value.steps_per_epoch,
            evaluated_examples=value.evaluated_examples,
        )
    )


def progress_from_pb(message: pb.Progress) -> Progress:
    """The progress that a message tells."""
    return Progress(
        step=message.step,
        total_steps=message.total_steps,
        loss=message.loss,
        held_out_loss=message.held_out_loss if message.HasField("held_out_loss") else None,
        baseline_loss=message.baseline_loss if message.HasField("baseline_loss") else None,
        tokens_per_second=message.tokens_per_second,
        seconds_left=message.seconds_left if message.HasField("seconds_left") else None,
        version=message.version,
        phase=message.phase,
        metrics=dict(message.metrics),
        epoch=message.epoch if message.HasField("epoch") else None,
        examples=message.examples,
        held_out_examples=message.held_out_examples,
        steps_per_epoch=message.steps_per_epoch if message.HasField("steps_per_epoch") else None,
        evaluated_examples=message.evaluated_examples,
    )
