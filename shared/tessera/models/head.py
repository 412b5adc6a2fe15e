"""What is said of heads before one is built: what it sees and says, and its size. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tessera.models.config import ModelConfig
from tessera.models.task import TaskConfig


class Per(StrEnum):
    """What a head says something of, and what its module is called with."""

    TEXT = "text"
    """[B, T, width] states and the mask of `Inputs`, to [B, …]."""
    TOKEN = "token"  # noqa: S105 - no secret
    """[B, T, width] states, to [B, T, …]."""
    PLACE = "place"
    """[K, width] states of the places that are asked for, to [K, …]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One kind of head.

    Args:
        name: of its module among a model's `heads`.
        module: `module:attribute` of what makes it of a `ModelConfig` and a `Trunk`.
        per: what it says something of.
        output: the field of `Outputs` that holds what it says.
        weights: number of weights of its own in a model, with so many rows of its `projection`.
        writes: whether it sees the states that are written; else those that are read.
        labelled: whether its `projection` has a row for each class of the task.
        outputs: rows of that where they are no classes; 0: it has none of its own.
    """

    name: str
    module: str
    per: Per
    output: str
    weights: Callable[[ModelConfig, int], int]
    writes: bool = False
    labelled: bool = False
    outputs: int = 0

    def rows(self, task: TaskConfig) -> int:
        """Of its `projection` in a model with this task; 0: it has none of its own."""
        return len(task.labels) if self.labelled else self.outputs

    def parameters(self, config: ModelConfig) -> int:
        """Number of weights of its own in a model."""
        return self.weights(config, self.rows(config.task))


def _language(config: ModelConfig, _rows: int) -> int:
    words = config.target_vocab_size
    return (0 if config.tie_embeddings else words * config.width) + words * int(config.head_bias)


def _masked(config: ModelConfig, _rows: int) -> int:
    width, words = config.width, config.vocab_size
    projection = words if config.tie_embeddings else words * (width + 1)
    return width * width + width + 2 * width + projection


def _classes(config: ModelConfig, rows: int) -> int:
    width, task = config.width, config.task
    pooler = width * width + width if task.pooler else 0
    return pooler + (width + int(task.bias)) * rows


def _tokens(config: ModelConfig, rows: int) -> int:
    return (config.width + 1) * rows


def _vectors(config: ModelConfig, _rows: int) -> int:
    layers = config.task.dense
    widths = (config.width, *(layer.width for layer in layers))
    return sum(layer.parameters(width) for layer, width in zip(layers, widths, strict=False))


LANGUAGE = Head(
    name="language",
    module="tessera.models.heads:LanguageHead.of",
    per=Per.PLACE,
    output="logits",
    weights=_language,
    writes=True,
)
MASKED = Head(
    name="masked",
    module="tessera.models.heads:MaskedHead.of",
    per=Per.PLACE,
    output="masked",
    weights=_masked,
)
CLASSES = Head(
    name="classes",
    module="tessera.models.heads:ClassHead.of",
    per=Per.TEXT,
    output="logits",
    weights=_classes,
    labelled=True,
)
SCORE = Head(
    name=CLASSES.name,
    module=CLASSES.module,
    per=Per.TEXT,
    output="logits",
    weights=_classes,
    outputs=1,
)
"""The same head with one logit, so that either kind of model can go on from the other."""
TOKENS = Head(
    name="tokens",
    module="tessera.models.heads:TokenHead.of",
    per=Per.TOKEN,
    output="logits",
    weights=_tokens,
    labelled=True,
)
SPAN = Head(
    name="span",
    module="tessera.models.heads:TokenHead.of",
    per=Per.TOKEN,
    output="logits",
    weights=_tokens,
    outputs=2,
)
VECTORS = Head(
    name="vectors",
    module="tessera.models.heads:VectorHead.of",
    per=Per.TEXT,
    output="vectors",
    weights=_vectors,
)
