"""What belongs to texts: translations, summaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tessera import errors
from tessera.inference.engine import beam
from tessera.inference.engine.bounds import Bounds
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.pooling import PoolingInput
from tessera.inference.engine.sequence import FinishReason, Request, Sampling
from tessera.inference.tasks.given import Given, read
from tessera.inference.tasks.writing import check_room, first_token
from tessera.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """One way to put it.

    Args:
        text: without a tokenizer empty.
        tokens: without the one that ends it.
        score: log-probability, divided by a power of its length.
        finish: why it ended.
    """

    text: str
    tokens: tuple[int, ...]
    score: float
    finish: FinishReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How to search.

    Args:
        max_tokens: to write at most.
        beams: hypotheses that are followed; 1 takes the most likely token each time.
        length_penalty: power of a hypothesis' length that divides its log-probability.
        hypotheses: to return, the best first.
        deadline: on the engine's clock; None: whenever.
    """

    max_tokens: int
    beams: int = 1
    length_penalty: float = 1.0
    hypotheses: int = 1
    deadline: float | None = None


class Translate:
    """Asks for what belongs to texts.

    Args:
        inputs: the texts.
        manner: how to search.
    """

    method = "Translate"

    def __init__(self, inputs: Sequence[Given], manner: Manner) -> None:
        self._inputs = inputs
        self._manner = manner
        self._tokenizer: Tokenizer | None = None

    def prepare(self, model: LoadedModel, bounds: Bounds) -> list[Request | PoolingInput]:
        """A request for each input."""
        manner = self._manner
        if manner.hypotheses > manner.beams:
            raise errors.InvalidArgumentError.at(
                "hypotheses",
                f"{manner.hypotheses} of them need as many `beams`, but there are {manner.beams}",
                "TOO_MANY_HYPOTHESES",
            )
        self._tokenizer = model.tokenizer
        works = [self._request(model, bounds, index) for index in range(len(self._inputs))]
        check_room(works[0], model, bounds)
        return list(works)

    def finish(self, results: Sequence[Sequence[beam.Hypothesis]]) -> list[list[Put]]:
        """The best hypotheses of every text."""
        count = self._manner.hypotheses
        return [[self._put(each) for each in found[:count]] for found in results]

    def _request(self, model: LoadedModel, bounds: Bounds, index: int) -> Request:
        longest = bounds.source(model)
        source = read(model, self._inputs[index], f"inputs[{index}]", longest)
        return Request(
            prompt=(first_token(model),),
            source=source.tokens,
            segments=source.segments,
            max_tokens=self._manner.max_tokens,
            sampling=Sampling(temperature=0),
            beams=self._manner.beams,
            length_penalty=self._manner.length_penalty,
            deadline=self._manner.deadline,
        )

    def _put(self, found: beam.Hypothesis) -> Put:
        tokens = found.tokens[:-1] if found.ended else found.tokens
        return Put(
            text="" if self._tokenizer is None else self._tokenizer.decode(tokens),
            tokens=tokens,
            score=found.score,
            finish=FinishReason.END if found.ended else FinishReason.LENGTH,
        )
