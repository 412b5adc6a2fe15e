"""Classes of whole texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera.inference.engine.bounds import Bounds
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.pooling import PoolingInput
from tessera.inference.tasks.probabilities import Logits, expit, softmax
from tessera.inference.tasks.text_input import TextInput, read
from tessera.models.task import IDENTITY, TaskConfig
from tessera.models.tasks import kind_of


@dataclass(frozen=True, slots=True)
class LabelScore:
    """A class and its probability."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLabel:
    """The class of a piece of a text.

    Args:
        begin: first character; -1: tokens were given.
        end: the character after the last one.
        text: the piece.
        label: its most likely class.
        probability: of the class.
    """

    begin: int
    end: int
    text: str
    label: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifiedText:
    """What was found out about one text.

    Args:
        labels: of the whole text, the most likely first.
        score: of the text, where the model gives that and no classes.
        tokens: classes of its tokens, where the model tells those.
    """

    labels: tuple[LabelScore, ...] = ()
    score: float | None = None
    tokens: tuple[TokenLabel, ...] = ()


class Classify:
    """Asks for the classes of texts.

    Args:
        inputs: the texts.
        top_k: classes to tell of each; 0: all.
    """

    method = "Classify"

    def __init__(self, inputs: Sequence[TextInput], top_k: int) -> None:
        self.inputs = inputs
        self.top_k = top_k
        self._task: TaskConfig

    def prepare(self, model: LoadedModel, bounds: Bounds) -> list[PoolingInput]:
        """A text for each input."""
        self._task = model.config.task
        longest = bounds.reading(model)
        inputs = [
            read(model, given, f"inputs[{index}]", longest)
            for index, given in enumerate(self.inputs)
        ]
        head = kind_of(self._task).head_names[0]
        return [PoolingInput(head=head, tokens=f.tokens, segments=f.segments) for f in inputs]

    def finish(self, results: Sequence[Logits]) -> list[ClassifiedText]:
        """Classes by their probability, or scores."""
        if kind_of(self._task).scores:
            return [ClassifiedText(score=score(logits, self._task)) for logits in results]
        return [ClassifiedText(labels=self._labels(logits)) for logits in results]

    def _labels(self, logits: Logits) -> tuple[LabelScore, ...]:
        chances = probabilities(logits, self._task)
        order = np.argsort(-chances, kind="stable")[: self.top_k or None]
        return tuple(LabelScore(self._task.labels[i], float(chances[i])) for i in order)


def score(logits: Logits, task: TaskConfig) -> float:
    """Of the logit [1] of a regression, as a CrossEncoder of sentence-transformers has it."""
    logit = float(logits[0])
    return logit if task.activation == IDENTITY else float(expit(logit))


def probabilities(logits: Logits, task: TaskConfig) -> NDArray[np.float64]:
    """Of classes that exclude one another, or each by itself."""
    if task.multi_label:
        return expit(logits.astype(np.float64))
    return softmax(logits)
