"""What a spec says about its task."""

from __future__ import annotations

from dataclasses import dataclass

from tessera.models.registry import family as find_family
from tessera.models.task import TaskConfig
from tessera.models.tasks import LANGUAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """What a model learns to do, and how.

    Args:
        kind: one of `tessera.models.tasks.TASKS`.
        labels: classes in their order; empty: those of the training data.
        multi_label: whether a text may have any number of classes.
        mask_probability: share of the tokens that are hidden.
        masked_weight: of the loss of hidden tokens, beside that of next tokens.
        next_weight: of the loss of next tokens, beside that of hidden tokens.
        label_smoothing: share of the probability that is spread over all classes or tokens.
        pooling: which hidden state stands for a text; empty: the family's.
        stride: tokens by which windows over a long context overlap; None: a quarter of the
            sequence.
        packing: whether texts share windows, where hidden tokens are predicted.
    """

    kind: str = LANGUAGE
    labels: tuple[str, ...] = ()
    multi_label: bool = False
    mask_probability: float = 0.15
    masked_weight: float = 1.0
    next_weight: float = 1.0
    label_smoothing: float = 0.0
    pooling: str = ""
    stride: int | None = None
    packing: bool = True

    def config(self, family: str, labels: tuple[str, ...] = ()) -> TaskConfig:
        """What the heads of a model of this family do.

        Args:
            family: its name.
            labels: classes that the data has, in their order.
        """
        choices: dict[str, object] = {"labels": labels, "multi_label": self.multi_label}
        if self.pooling:
            choices["pooling"] = self.pooling
        return find_family(family).task(self.kind, **choices)
