"""What the heads of one model do. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from tessera.models.tasks import LANGUAGE, TASKS, TRANSLATES, TaskKind

POOLINGS = ("first", "last", "mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskConfig:
    """What the heads of a model do.

    Args:
        kind: name of one of `tessera.models.tasks.TASKS`.
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
    def row(self) -> TaskKind:
        """All that is known of its kind."""
        return TASKS[self.kind]

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of its heads."""
        return tuple(head.name for head in self.row.heads)

    @property
    def outputs(self) -> int:
        """Width of the projection of a head that is no language head; 0: there is none."""
        first = self.row.heads[0]
        return len(self.labels) if first.labelled else first.outputs

    @property
    def writes(self) -> bool:
        """Whether the model writes text."""
        return any(head.writes for head in self.row.heads)

    @property
    def translates(self) -> bool:
        """Whether a decoder writes what an encoder has not read."""
        return TRANSLATES in self.row.needs

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The task that `asdict` made a dictionary of; unknown keys are ignored."""
        known = {item.name for item in fields(cls)}
        found = {key: value for key, value in values.items() if key in known}
        return cls(**{**found, "labels": tuple(found.get("labels", ()))})
