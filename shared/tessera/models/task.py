"""What the heads of one model do. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from tessera.models.dense_config import DenseConfig

IDENTITY, SIGMOID = "identity", "sigmoid"
"""What makes a score of a logit."""
POOLINGS = ("first", "last", "mean")
"""Which states may stand for a text, as a job may ask."""
VECTOR_POOLINGS = (*POOLINGS, "max", "mean_sqrt_len", "weightedmean")
"""Those that an imported model of embeddings may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskConfig:
    """What the heads of a model do.

    Args:
        kind: name of one of `tessera.models.tasks.TASKS`.
        labels: classes of classification, by their number; for regression what the score is called.
        multi_label: whether a text may have any number of classes, each by itself.
        pooling: which hidden state stands for a text: of its `first` token, of its `last`, the
            `mean` of all, or for embeddings their `max`, their sum by the root of their number
            (`mean_sqrt_len`), or their mean by their places (`weightedmean`).
        pooler: whether a dense layer with tanh stands between that and the classes (Devlin et
            al., 2018).
        bias: whether the projection to the classes of a text has one.
        normalize: whether embeddings have length 1.
        longest: tokens of a text that an embedding is made of, special ones included; 0: as many
            as the context.
        dense: layers between what stands for a text and its embedding.
        prompts: texts that may be put before a text that is embedded, each behind its name.
        default_prompt: name of the one that is put there unless another is asked for; empty: none.
        include_prompt: whether the tokens of a prompt count where a text is pooled.
        activation: what makes a score of the logit of a regression: `identity` or `sigmoid`.
        similarity: how embeddings are compared, as sentence-transformers calls it; empty: not said.
    """

    kind: str
    labels: tuple[str, ...] = ()
    multi_label: bool = False
    pooling: str = "first"
    pooler: bool = False
    bias: bool = True
    normalize: bool = True
    longest: int = 0
    dense: tuple[DenseConfig, ...] = ()
    prompts: tuple[tuple[str, str], ...] = ()
    default_prompt: str = ""
    include_prompt: bool = True
    similarity: str = ""
    activation: str = SIGMOID

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The task that `asdict` made a dictionary of; unknown keys are ignored."""
        known = {item.name for item in fields(cls)}
        found = {key: value for key, value in values.items() if key in known}
        found["labels"] = tuple(found.get("labels", ()))
        found["dense"] = tuple(DenseConfig(**layer) for layer in found.get("dense", ()))
        found["prompts"] = tuple((name, text) for name, text in found.get("prompts", ()))
        return cls(**found)
