"""Rules for what the model learns to do."""

from __future__ import annotations

from collections.abc import Iterator

from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.models.registry import family
from tessera.models.tasks import SEES_ALL, TASKS
from tessera.spec.rules.problem import Problem, Rule, listed


def _fields(spec: JobSpec) -> Iterator[Problem]:
    task = spec.task
    for field, _ in task.ListFields():
        if field.name != "kind" and field.name not in TASKS[task.kind].fields:
            yield Problem(
                reason="FIELD_NOT_FOR_TASK",
                field=f"task.{field.name}",
                description=f"it means nothing for {task.kind}, only for "
                f"{listed(_kinds_with(field.name))}; leave it out",
            )


def _weights(spec: JobSpec) -> Iterator[Problem]:
    task = spec.task
    weighed = "masked_weight" in TASKS[task.kind].fields
    if weighed and not task.masked_weight and not task.next_weight:
        yield Problem(
            reason="WEIGHTS_ALL_ZERO",
            field="task.masked_weight",
            description="with next_weight 0 too there is no loss; give one of them a weight",
        )


def _labels(spec: JobSpec) -> Iterator[Problem]:
    task = spec.task
    if len(task.labels) == 1 and not task.multi_label:
        yield Problem(
            reason="ONE_LABEL",
            field="task.labels",
            description="there is nothing to tell apart with one class; name all of them, or none "
            "to take those of the data",
        )


def _smoothing(spec: JobSpec) -> Iterator[Problem]:
    task = spec.task
    if task.multi_label and task.HasField("label_smoothing"):
        yield Problem(
            reason="FIELD_NOT_FOR_TASK",
            field="task.label_smoothing",
            description="with multi_label classes share no probability that could be spread; "
            "leave it out",
        )


def _pooling(spec: JobSpec) -> Iterator[Problem]:
    if spec.task.pooling == "first" and SEES_ALL not in family(spec.model.family).offers:
        yield Problem(
            reason="POOLING_SEES_NOTHING",
            field="task.pooling",
            description=f"the first state of a {spec.model.family} has seen one token only; "
            "take `last` or `mean`",
        )


def _stride(spec: JobSpec) -> Iterator[Problem]:
    stride, length = spec.task.stride, spec.train.sequence_length
    if length and stride >= length:
        yield Problem(
            reason="STRIDE_TOO_LARGE",
            field="task.stride",
            description=f"windows of {length} tokens (train.sequence_length) that overlap by "
            f"{stride} never move on; {length // 4} would do",
        )


def _kinds_with(field: str) -> tuple[str, ...]:
    """The tasks that have a field."""
    return tuple(kind.name for kind in TASKS.values() if field in kind.fields)


RULES: tuple[Rule, ...] = (_fields, _weights, _labels, _smoothing, _pooling, _stride)
