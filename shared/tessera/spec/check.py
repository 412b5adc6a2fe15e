"""What must hold between the fields of a spec, beyond the limits of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from google.protobuf.message import Message

from tessera import errors, validation
from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.models.config import GPTConfig
from tessera.models.registry import family
from tessera.spec.resolve import SIZES, resolve
from tessera.spec.urls import url_problems, version_problem

MAX_PARAMETERS = 10**13
"""Ten times the largest models that are known of; more is a slip of the keyboard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One rule that is broken: a stable reason, the field at fault and what to do."""

    reason: str
    field: str
    description: str


Rule = Callable[[JobSpec], Iterator[Problem]]


def check(spec: JobSpec, *, uploaded: bool = True) -> None:
    """Raise if a spec, resolved or not, cannot be run.

    Args:
        spec: the spec.
        uploaded: whether local paths must have been replaced by blob:// already.

    Raises:
        InvalidArgumentError: with the reason of the first problem and a violation for each.
    """
    validation.check(spec)
    resolved = resolve(spec)
    validation.check(resolved)
    found = [problem for rule in (_finite, *_RULES) for problem in rule(resolved)]
    found += [Problem(**problem) for problem in url_problems(resolved, uploaded=uploaded)]
    if not found:
        return
    first = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    raise errors.InvalidArgumentError(
        f"{first.field}: {first.description}{more}",
        reason=first.reason,
        violations=[errors.Violation(problem.field, problem.description) for problem in found],
    )


def model_config(spec: JobSpec, vocab_size: int) -> GPTConfig:
    """The sizes of the model of a resolved spec without `init`.

    Raises:
        InvalidArgumentError: UNKNOWN_FAMILY, HEADS_DO_NOT_DIVIDE_WIDTH.
    """
    model = spec.model
    values = {name: getattr(model, name) for name in (*SIZES, "ff_width")}
    return family(model.family).config(vocab_size=vocab_size, **values)


def _finite(message: Message, path: str = "") -> Iterator[Problem]:
    for field, value in message.ListFields():
        inner = f"{path}{field.name}"
        if isinstance(value, float) and not math.isfinite(value):
            yield Problem(reason="INVALID_FIELD", field=inner, description="must be finite")
        elif isinstance(value, Message):
            yield from _finite(value, f"{inner}.")


def _heads(spec: JobSpec) -> Iterator[Problem]:
    heads, width = spec.model.heads, spec.model.width
    if heads and width % heads:
        near = min((n for n in range(1, width + 1) if not width % n), key=lambda n: abs(n - heads))
        yield Problem(
            reason="HEADS_DO_NOT_DIVIDE_WIDTH",
            field="model.heads",
            description=f"{heads} heads do not divide a width of {width}; {near} would",
        )


def _size(spec: JobSpec) -> Iterator[Problem]:
    known = {field.name for field, _ in spec.model.ListFields()}
    if not known.issuperset({*SIZES, "ff_width"}) or spec.model.width % spec.model.heads:
        return
    vocabulary = spec.tokenizer.vocab_size if spec.tokenizer.HasField("vocab_size") else 1
    parameters = model_config(spec, vocabulary).parameters
    if parameters > MAX_PARAMETERS:
        yield Problem(
            reason="MODEL_TOO_LARGE",
            field="model",
            description=f"these sizes make {parameters:.3g} parameters; "
            f"at most {MAX_PARAMETERS:.0e} are allowed",
        )


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


def _init(spec: JobSpec) -> Iterator[Problem]:
    if spec.model.HasField("init"):
        problem = version_problem(getattr(spec.model.init, "from"))
        if problem:
            yield Problem(reason="BAD_INIT", field="model.init.from", description=problem)


_RULES: tuple[Rule, ...] = (_heads, _size, _sequence, _batch, _warmup, _rates, _init)
