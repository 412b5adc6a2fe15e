"""What a model is for: its heads, and which families can have them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from tessera import errors

LANGUAGE = "language_modeling"
MASKED = "masked_language_modeling"
JOINT = "joint"
TRANSLATION = "translation"
SUMMARIZATION = "summarization"
CLASSIFICATION = "classification"
SENTIMENT = "sentiment"
TOKENS = "token_classification"
QUESTION_ANSWERING = "question_answering"
EMBEDDING = "sentence_embedding"

_ENCODING = (CLASSIFICATION, SENTIMENT, TOKENS, QUESTION_ANSWERING, EMBEDDING)

TASKS: Mapping[str, tuple[str, ...]] = {
    "transformer": (TRANSLATION, SUMMARIZATION),
    "bert": (MASKED, *_ENCODING),
    "gpt": (LANGUAGE, CLASSIFICATION, SENTIMENT, TOKENS, EMBEDDING),
    "bert_gpt": (JOINT, TRANSLATION, SUMMARIZATION, MASKED, *_ENCODING),
}
"""Tasks of each family; the first one is the default."""

KINDS = tuple(dict.fromkeys(kind for kinds in TASKS.values() for kind in kinds))
POOLINGS = ("first", "last", "mean")

_HEADS: Mapping[str, tuple[str, ...]] = {
    LANGUAGE: ("language",),
    MASKED: ("masked",),
    JOINT: ("masked", "language"),
    TRANSLATION: ("language",),
    SUMMARIZATION: ("language",),
    CLASSIFICATION: ("classes",),
    SENTIMENT: ("classes",),
    TOKENS: ("tokens",),
    QUESTION_ANSWERING: ("span",),
    EMBEDDING: ("vectors",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskConfig:
    """What the heads of a model do.

    Args:
        kind: one of `KINDS`.
        labels: classes of classification, by their number.
        multi_label: whether a text may have any number of classes, each by itself.
        pooling: which hidden state stands for a text: of its `first` token, of its `last`, or the
            `mean` of all.
        pooler: whether a dense layer with tanh stands between that and the classes (Devlin et
            al., 2018).
        bias: whether the projection to the classes of a text has one.
        normalize: whether embeddings have length 1.
        longest: tokens of a text that an embedding is made of, special ones included; 0: as many
            as the context.
    """

    kind: str = LANGUAGE
    labels: tuple[str, ...] = ()
    multi_label: bool = False
    pooling: str = "first"
    pooler: bool = False
    bias: bool = True
    normalize: bool = True
    longest: int = 0

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of its heads."""
        return _HEADS[self.kind]

    @property
    def outputs(self) -> int:
        """Width of the projection of a head that is no language head; 0: there is none."""
        head = self.heads[0]
        if head in {"classes", "tokens"}:
            return len(self.labels)
        return 2 if head == "span" else 0

    @property
    def writes(self) -> bool:
        """Whether the model writes text."""
        return "language" in self.heads

    @property
    def translates(self) -> bool:
        """Whether a decoder writes what an encoder has not read."""
        return self.kind in {TRANSLATION, SUMMARIZATION, JOINT}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The task that `asdict` made a dictionary of; unknown keys are ignored."""
        known = {item.name for item in fields(cls)}
        found = {key: value for key, value in values.items() if key in known}
        return cls(**{**found, "labels": tuple(found.get("labels", ()))})


def check_task(family: str, kind: str) -> None:
    """Raise InvalidArgumentError TASK_NOT_FOR_FAMILY if a family cannot have a task."""
    if kind not in TASKS[family]:
        able = [name for name, kinds in TASKS.items() if kind in kinds]
        description = f"a {family} has no task `{kind}`; it has {', '.join(TASKS[family])}" + (
            f"; `{kind}` is a task of {', '.join(able)}" if able else ""
        )
        raise errors.InvalidArgumentError.at("task.kind", description, "TASK_NOT_FOR_FAMILY")
