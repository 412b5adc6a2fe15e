"""Rules for the optimization."""

from __future__ import annotations

from collections.abc import Iterator

from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.spec.rules.problem import Problem, Rule

EITHER = (
    ("train", "steps", "epochs"),
    ("train", "steps", "min_steps"),
    ("train", "warmup_steps", "warmup_ratio"),
    ("train", "eval_every", "eval_every_epochs"),
    ("train", "eval_every", "eval_every_ratio"),
    ("train", "eval_every_epochs", "eval_every_ratio"),
    ("publish", "every", "every_epochs"),
    ("publish", "every", "every_ratio"),
    ("publish", "every_epochs", "every_ratio"),
)
"""Fields that say the same in other units: section, one, another."""


def _sequence(spec: JobSpec) -> Iterator[Problem]:
    length, context = spec.train.sequence_length, spec.model.context
    if context and length > context:
        yield Problem(
            reason="SEQUENCE_LONGER_THAN_CONTEXT",
            field="train.sequence_length",
            description=f"sequences of {length} tokens do not fit the model's context of {context};"
            " shorten them or raise model.context",
        )


def _batch(spec: JobSpec) -> Iterator[Problem]:
    workers, rounds = spec.resources.workers, spec.train.grad_accumulation
    batch = spec.train.batch_size
    if batch % (workers * rounds):
        yield Problem(
            reason="BATCH_NOT_DIVISIBLE",
            field="train.batch_size",
            description=f"{batch} sequences cannot be shared out evenly: a multiple of {workers} "
            f"workers x {rounds} micro-batches = {workers * rounds} is needed",
        )


def _either(spec: JobSpec) -> Iterator[Problem]:
    for section, one, other in EITHER:
        message = getattr(spec, section)
        if message.HasField(one) and message.HasField(other):
            yield Problem(
                reason="MUTUALLY_EXCLUSIVE",
                field=f"{section}.{other}",
                description=f"`{section}.{one}` says the same in another way; leave one of the two "
                "out",
            )


def _warmup(spec: JobSpec) -> Iterator[Problem]:
    warmup, steps = spec.train.warmup_steps, spec.train.steps
    # Where epochs say how long the run is, the trainer looks once the examples are counted.
    if spec.train.HasField("steps") and warmup > steps:
        yield Problem(
            reason="WARMUP_LONGER_THAN_STEPS",
            field="train.warmup_steps",
            description=f"a warm-up of {warmup} steps is longer than the run of {steps}",
        )


def _rates(spec: JobSpec) -> Iterator[Problem]:
    if spec.train.min_lr > spec.train.lr:
        yield Problem(
            reason="MIN_LR_ABOVE_LR",
            field="train.min_lr",
            description=f"the last learning rate {spec.train.min_lr:g} is above "
            f"the peak of {spec.train.lr:g} (train.lr)",
        )


RULES: tuple[Rule, ...] = (_either, _sequence, _batch, _warmup, _rates)
