"""How likely texts are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera import errors
from tessera.inference.engine.bounds import Bounds
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.pooling import PoolingInput
from tessera.inference.tasks.text_input import TextInput, check_length, plain, read
from tessera.inference.tasks.writing import first_token


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely one text is: its tokens, and the log-probability of each."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]

    @property
    def total(self) -> float:
        """Log-probability of the whole text."""
        return float(np.sum(self.logprobs))


class Score:
    """Asks for the log-probabilities of texts.

    Args:
        texts: what stands before each (None: nothing), and the text.
    """

    method = "Score"

    def __init__(self, texts: Sequence[tuple[TextInput | None, TextInput]]) -> None:
        self._texts = texts
        self._targets: list[tuple[int, ...]] = []

    def prepare(self, model: LoadedModel, bounds: Bounds) -> list[PoolingInput]:
        """A text for each one to score."""
        make = _after if model.config.encoder is None else _given_source
        works = [
            make(model, bounds, context, target, f"texts[{index}]")
            for index, (context, target) in enumerate(self._texts)
        ]
        self._targets = [work.targets for work in works]
        return list(works)

    def finish(self, results: Sequence[NDArray[np.float32]]) -> list[Likelihood]:
        """Log-probabilities of every token."""
        return [
            Likelihood(tokens, tuple(found.tolist()))
            for tokens, found in zip(self._targets, results, strict=True)
        ]


def _after(
    model: LoadedModel, bounds: Bounds, context: TextInput | None, target: TextInput, field: str
) -> PoolingInput:
    """A text that goes on with its context, or begins a document."""
    longest = bounds.reading(model)
    if context is None:
        end = model.end_id
        if end is None:
            raise errors.InvalidArgumentError.at(
                f"{field}.context",
                "the model has no token that begins a document; give a context",
                "CONTEXT_NEEDED",
            )
        before = model.opening or (end,)
    else:
        opening = () if context.tokens is not None else model.opening
        before = (*opening, *_plain(model, context, f"{field}.context", longest))
    wanted = _plain(model, target, f"{field}.target", longest)
    # The last token is only asked for.
    tokens = (*before, *wanted[:-1])
    check_length(tokens, field, longest)
    places = tuple(range(len(before) - 1, len(tokens)))
    return PoolingInput(head="language", tokens=tokens, places=places, targets=wanted)


def _given_source(
    model: LoadedModel, bounds: Bounds, context: TextInput | None, target: TextInput, field: str
) -> PoolingInput:
    """A text that a decoder writes for a source."""
    if context is None:
        raise errors.InvalidArgumentError.at(
            f"{field}.context",
            "this model writes what belongs to a text; give that text",
            "CONTEXT_NEEDED",
        )
    longest = bounds.reading(model)
    source = read(model, context, f"{field}.context", longest)
    wanted = _plain(model, target, f"{field}.target", longest)
    opening = () if target.tokens is not None else model.opening
    check_length((*opening, *wanted), f"{field}.target", longest)
    return PoolingInput(
        head="language",
        tokens=source.tokens,
        segments=source.segments,
        written=(first_token(model), *opening, *wanted[:-1]),
        places=tuple(range(len(opening), len(opening) + len(wanted))),
        targets=wanted,
    )


def _plain(model: LoadedModel, given: TextInput, field: str, longest: int) -> tuple[int, ...]:
    return tuple(plain(model, given, field, model.config.target_vocab_size, longest).ids)
