"""What is said of heads before one is built: what it sees and says, and its size. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tessera.models.config import ModelConfig


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
        parameters: number of weights of its own in a model.
        writes: whether it sees the states that are written; else those that are read.
        labelled: whether its `projection` has a row for each class of the task.
        outputs: rows of that where they are no classes; 0: it has none of its own.
    """

    name: str
    module: str
    per: Per
    output: str
    parameters: Callable[[ModelConfig], int]
    writes: bool = False
    labelled: bool = False
    outputs: int = 0


def _language(config: ModelConfig) -> int:
    rows = config.target_vocab_size
    return (0 if config.tie_embeddings else rows * config.width) + rows * int(config.head_bias)


def _masked(config: ModelConfig) -> int:
    width, rows = config.width, config.vocab_size
    projection = rows if config.tie_embeddings else rows * (width + 1)
    return width * width + width + 2 * width + projection


def _classes(config: ModelConfig) -> int:
    width, task = config.width, config.task
    pooler = width * width + width if task.pooler else 0
    return pooler + (width + int(task.bias)) * task.outputs


def _tokens(config: ModelConfig) -> int:
    return (config.width + 1) * config.task.outputs


def _vectors(config: ModelConfig) -> int:
    layers = config.task.dense
    widths = (config.width, *(layer.width for layer in layers))
    return sum(layer.parameters(width) for layer, width in zip(layers, widths, strict=False))


LANGUAGE = Head(
    name="language",
    module="tessera.models.heads:LanguageHead.of",
    per=Per.PLACE,
    output="logits",
    parameters=_language,
    writes=True,
)
MASKED = Head(
    name="masked",
    module="tessera.models.heads:MaskedHead.of",
    per=Per.PLACE,
    output="masked",
    parameters=_masked,
)
CLASSES = Head(
    name="classes",
    module="tessera.models.heads:ClassHead.of",
    per=Per.TEXT,
    output="logits",
    parameters=_classes,
    labelled=True,
)
SCORE = Head(
    name=CLASSES.name,
    module=CLASSES.module,
    per=Per.TEXT,
    output="logits",
    parameters=_classes,
    outputs=1,
)
"""The same head with one logit, so that either kind of model can go on from the other."""
TOKENS = Head(
    name="tokens",
    module="tessera.models.heads:TokenHead.of",
    per=Per.TOKEN,
    output="logits",
    parameters=_tokens,
    labelled=True,
)
SPAN = Head(
    name="span",
    module="tessera.models.heads:TokenHead.of",
    per=Per.TOKEN,
    output="logits",
    parameters=_tokens,
    outputs=2,
)
VECTORS = Head(
    name="vectors",
    module="tessera.models.heads:VectorHead.of",
    per=Per.TEXT,
    output="vectors",
    parameters=_vectors,
)
