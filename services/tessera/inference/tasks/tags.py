"""Classes of a text's tokens, by the characters that they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tessera.inference.engine.bounds import Bounds
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.pooling import PoolingInput
from tessera.inference.tasks.given import Given, check_filled, check_length, check_pair, frame, read
from tessera.inference.tasks.given import tokenizer as tokenizer_of
from tessera.inference.tasks.numbers import Logits, softmax


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


@dataclass(frozen=True, slots=True)
class _Piece:
    place: int
    begin: int
    end: int
    text: str


class Tags:
    """Reads texts and tells the classes of their tokens.

    Args:
        model: that tells them.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._pieces: list[list[_Piece]] = []

    def prepare(self, inputs: Sequence[Given], bounds: Bounds) -> Iterator[PoolingInput]:
        """A text for each input."""
        longest = bounds.reading(self._model)
        for index, given in enumerate(inputs):
            field = f"inputs[{index}]"
            check_pair(self._model.config, given, field, able=given.tokens is not None)
            if given.tokens is not None:
                tokens = read(self._model, given, field, longest).tokens
                self._pieces.append([self._token(at, token) for at, token in enumerate(tokens)])
            else:
                tokens = self._encode(given.text, field, longest)
            yield PoolingInput(head="tokens", tokens=tokens)

    def finish(self, results: Sequence[Logits]) -> Iterator[list[TokenLabel]]:
        """The classes of every text's pieces."""
        labels = self._model.config.task.labels
        for pieces, logits in zip(self._pieces, results, strict=True):
            chances = softmax(logits)
            best = np.argmax(chances, axis=-1)
            yield [
                TokenLabel(
                    begin=piece.begin,
                    end=piece.end,
                    text=piece.text,
                    label=labels[best[piece.place]],
                    probability=float(chances[piece.place, best[piece.place]]),
                )
                for piece in pieces
            ]

    def _encode(self, text: str, field: str, longest: int) -> tuple[int, ...]:
        encoded = tokenizer_of(self._model, field).encode_offsets(text)
        check_filled(encoded.ids, field)
        tokens = frame(self._model, encoded.ids).tokens
        check_length(tokens, field, longest)
        first = len(self._model.frame.before)
        self._pieces.append(
            [
                _Piece(first + at, begin, end, text[begin:end])
                for at, (begin, end) in enumerate(encoded.offsets)
            ]
        )
        return tokens

    def _token(self, place: int, token: int) -> _Piece:
        words = self._model.tokenizer
        return _Piece(place, -1, -1, "" if words is None else words.token_text(token))
