"""Rules for the optimization."""

from __future__ import annotations

from collections.abc import Iterator

from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.spec.rules.problem import Problem, Rule


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


def _warmup(spec: JobSpec) -> Iterator[Problem]:
    warmup, steps = spec.train.warmup_steps, spec.train.steps
    if warmup > steps:
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


RULES: tuple[Rule, ...] = (_sequence, _batch, _warmup, _rates)
