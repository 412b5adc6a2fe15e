"""Epochs to steps: the same number on every rank, and in what a client expects."""

from __future__ import annotations

import math
from fractions import Fraction

from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.models.tasks import TASKS
from tessera.spec.optimization import is_supervised


def period(epochs: float, examples: int, batch_size: int) -> Fraction:
    """Steps of so many epochs, with their fraction.

    Args:
        epochs: more than 0; taken for the decimal number that it is written as, so that 0.3 of 10
            examples are 3.
        examples: of one epoch, at least 1.
        batch_size: examples of one step.
    """
    return Fraction(repr(float(epochs))) * examples / batch_size


def steps_of(epochs: float, examples: int, batch_size: int) -> int:
    """Steps after which all examples were seen so often; at least 1.

    The batch that ends an epoch goes on into the next one, so that only the last one of the run is
    rounded up. Arguments as for `period`.
    """
    return max(1, math.ceil(period(epochs, examples, batch_size)))


def expected(spec: JobSpec, records: int) -> str:
    """How long a run will be, in one sentence; empty where only the trainer can count.

    Args:
        spec: resolved.
        records: that are trained on.
    """
    task, train = spec.task, spec.train
    alone = is_supervised(task.kind) or (task.HasField("packing") and not task.packing)
    if not alone or not records:
        return ""  # Windows of packed text are counted in tokens.
    # A record may make several windows over a long context.
    least = "at least " if "stride" in TASKS[task.kind].fields else ""
    size = train.batch_size
    told = f"{least}{records / size:,.4g} steps of {size} are an epoch"
    if train.HasField("epochs"):
        steps = max(train.min_steps, steps_of(train.epochs, records, size))
        if steps == train.min_steps:
            return f"{told}, {steps:,} the run"
        return f"{told}, {least}{steps:,} the {train.epochs:g} epochs of the run"
    return f"{told}, the run of {train.steps:,} steps {train.steps * size / records:,.4g} epochs"
