"""What may stand where a token is hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera import errors
from tessera.inference.engine.bounds import Bounds
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.pooling import PoolingInput
from tessera.inference.tasks.text_input import TextInput, read
from tessera.models.tasks import kind_of
from tessera.text.tokenizer import Tokenizer

MAX_CANDIDATES = 100_000
"""Of all places of one request: each is a message of its own, some hundred bytes of memory."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What may stand at the hidden places of a text.

    Candidates of all places are in one list: an object for each would keep the collector busy, and
    while it is at work nothing else is.

    Args:
        positions: [K], of the places among the tokens that the model read.
        count: candidates of each.
        tokens: [K * count], the most likely of a place first.
        texts: what these tokens stand for.
        probabilities: of them.
    """

    positions: tuple[int, ...]
    count: int
    tokens: list[int]
    texts: list[str]
    probabilities: list[float]


class FillMask:
    """Asks what is hidden in texts.

    Args:
        inputs: the texts; the mask token is written in them by name.
        top_k: candidates for each place.
    """

    method = "FillMask"

    def __init__(self, inputs: Sequence[TextInput], top_k: int) -> None:
        self._inputs = inputs
        self._top_k = top_k
        self._tokenizer: Tokenizer | None = None
        self._places: list[tuple[int, ...]] = []

    def prepare(self, model: LoadedModel, bounds: Bounds) -> list[PoolingInput]:
        """A text for each input."""
        self._tokenizer, self._places = model.tokenizer, []
        head, mask = kind_of(model.config.task).head_names[0], model.mask_id
        longest, works, asked = bounds.reading(model), list[PoolingInput](), 0
        for index, given in enumerate(self._inputs):
            field = f"inputs[{index}]"
            encoded_input = read(model, given, field, longest, marked=True)
            tokens = encoded_input.tokens
            places = tuple([place for place, token in enumerate(tokens) if token == mask])
            if not places:
                raise errors.InvalidArgumentError.at(
                    field, f"nothing is hidden in it; {_how(model, given)}", "NO_MASK"
                )
            self._places.append(places)
            asked += len(places)
            self._check_candidates(asked, field)
            works.append(
                PoolingInput(
                    head=head,
                    tokens=tokens,
                    segments=encoded_input.segments,
                    places=places,
                    top_k=self._top_k,
                )
            )
        return works

    def _check_candidates(self, places: int, field: str) -> None:
        """Raise InvalidArgumentError TOO_MANY_CANDIDATES if an answer would be too large."""
        if places * self._top_k > MAX_CANDIDATES:
            raise errors.InvalidArgumentError.at(
                field,
                f"with this one there are {places} hidden places, of which {self._top_k} candidates"
                f" each are wanted; one request gets {MAX_CANDIDATES} candidates at most: ask"
                " several times",
                "TOO_MANY_CANDIDATES",
                metadata={"places": str(places), "top_k": str(self._top_k)},
            )

    def finish(self, results: Sequence[NDArray[Any]]) -> list[Filled]:
        """Candidates of every place of every text."""
        text = cache(self._text)
        filled = []
        for positions, choices in zip(self._places, results, strict=True):
            tokens = choices["token"].ravel().tolist()
            chances = np.exp(choices["logprob"].astype(np.float64)).ravel().tolist()
            texts = list(map(text, tokens))
            filled.append(Filled(positions, choices.shape[1], tokens, texts, chances))
        return filled

    def _text(self, token: int) -> str:
        return "" if self._tokenizer is None else self._tokenizer.token_text(token)


def _how(model: LoadedModel, given: TextInput) -> str:
    if given.tokens is not None or model.tokenizer is None:
        return f"put token {model.mask_id} where something is"
    return f"write `{model.tokenizer.special.mask}` where something is"
