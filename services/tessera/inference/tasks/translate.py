"""What belongs to texts: translations, summaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tessera import errors
from tessera.inference.engine import beam
from tessera.inference.engine.bounds import Bounds
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.sequence import FinishReason, Request
from tessera.inference.tasks.text_input import TextInput, read
from tessera.inference.tasks.writing import SamplingParams, check_room, first_token
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


class Translate:
    """Asks for what belongs to texts.

    Args:
        inputs: the texts.
        params: how to search.
    """

    method = "Translate"

    def __init__(self, inputs: Sequence[TextInput], params: SamplingParams) -> None:
        self._inputs = inputs
        self._params = params
        self._tokenizer: Tokenizer | None = None

    def prepare(self, model: LoadedModel, bounds: Bounds) -> list[Request]:
        """A request for each input."""
        params = self._params
        if params.hypotheses > params.beams:
            raise errors.InvalidArgumentError.at(
                "hypotheses",
                f"{params.hypotheses} of them need as many `beams`, but there are {params.beams}",
                "TOO_MANY_HYPOTHESES",
            )
        self._tokenizer = model.tokenizer
        works = [self._request(model, bounds, index) for index in range(len(self._inputs))]
        check_room(works[0], model, bounds)
        return list(works)

    def finish(self, results: Sequence[Sequence[beam.Hypothesis]]) -> list[list[Put]]:
        """The best hypotheses of every text."""
        count = self._params.hypotheses
        return [[self._put(each) for each in found[:count]] for found in results]

    def _request(self, model: LoadedModel, bounds: Bounds, index: int) -> Request:
        longest = bounds.source(model)
        source = read(model, self._inputs[index], f"inputs[{index}]", longest)
        return self._params.request((first_token(model),), source.tokens, source.segments)

    def _put(self, found: beam.Hypothesis) -> Put:
        tokens = found.tokens[:-1] if found.ended else found.tokens
        return Put(
            text="" if self._tokenizer is None else self._tokenizer.decode(tokens),
            tokens=tokens,
            score=found.score,
            finish=FinishReason.END if found.ended else FinishReason.LENGTH,
        )
