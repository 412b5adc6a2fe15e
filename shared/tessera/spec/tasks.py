"""What each kind of task asks of a spec: the fields that it has, and the data that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tessera.models import task

TABLES = ("jsonl", "csv", "tsv", "parquet", "dataset")
"""Formats whose records have columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """Of one kind of task.

    Args:
        fields: of TaskSpec that mean something.
        roles: of the columns of its data.
        formats: that its data may have.
    """

    fields: tuple[str, ...]
    roles: tuple[str, ...]
    formats: tuple[str, ...] = TABLES


_PAIRS = Traits(
    fields=("label_smoothing",), roles=("source", "target"), formats=("parallel", *TABLES)
)

TRAITS: Mapping[str, Traits] = {
    task.LANGUAGE: Traits(fields=("label_smoothing",), roles=("text",), formats=("text", *TABLES)),
    task.MASKED: Traits(
        fields=("mask_probability", "label_smoothing", "packing"),
        roles=("text",),
        formats=("text", *TABLES),
    ),
    task.JOINT: Traits(
        fields=("mask_probability", "masked_weight", "next_weight", "label_smoothing"),
        roles=("text", "source", "target"),
        formats=("text", "parallel", *TABLES),
    ),
    task.TRANSLATION: _PAIRS,
    task.SUMMARIZATION: _PAIRS,
    task.CLASSIFICATION: Traits(
        fields=("labels", "multi_label", "label_smoothing", "pooling"),
        roles=("text", "text_pair", "label"),
    ),
    task.SENTIMENT: Traits(
        fields=("labels", "label_smoothing", "pooling"), roles=("text", "text_pair", "label")
    ),
    task.TOKENS: Traits(fields=("labels", "label_smoothing"), roles=("tokens", "tags")),
    task.QUESTION_ANSWERING: Traits(
        fields=("stride",), roles=("question", "context", "answer", "answer_start")
    ),
    task.EMBEDDING: Traits(fields=("pooling",), roles=("text", "text_pair", "score")),
}
"""Of every kind."""


def kinds_with(field: str) -> tuple[str, ...]:
    """The tasks that have a field."""
    return tuple(kind for kind, traits in TRAITS.items() if field in traits.fields)
