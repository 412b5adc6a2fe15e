"""Classes of a text's tokens, by the characters that they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tessera.inference.engine.bounds import Bounds
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.pooling import PoolingInput
from tessera.inference.tasks.classify import ClassifiedText, Classify, TokenLabel
from tessera.inference.tasks.probabilities import Logits, softmax
from tessera.inference.tasks.text_input import (
    check_characters,
    check_filled,
    check_length,
    check_pair,
    read,
    with_special_tokens,
)
from tessera.inference.tasks.text_input import tokenizer as tokenizer_of
from tessera.models.tasks import kind_of


@dataclass(frozen=True, slots=True)
class _Piece:
    place: int
    begin: int
    end: int
    text: str


class Tags:
    """Tells the classes of the tokens of texts.

    Args:
        asked: about the texts.
    """

    method = "Classify"

    def __init__(self, asked: Classify) -> None:
        self._inputs = asked.inputs
        self._labels: tuple[str, ...] = ()
        self._pieces: list[list[_Piece]] = []

    def prepare(self, model: LoadedModel, bounds: Bounds) -> list[PoolingInput]:
        """A text for each input."""
        self._labels, self._pieces = model.config.task.labels, []
        head, longest = kind_of(model.config.task).head_names[0], bounds.reading(model)
        works = list[PoolingInput]()
        for index, given in enumerate(self._inputs):
            field = f"inputs[{index}]"
            check_pair(model.config, given, field, able=given.tokens is not None)
            if given.tokens is not None:
                tokens = read(model, given, field, longest).tokens
                self._pieces.append([_token(model, at, token) for at, token in enumerate(tokens)])
            else:
                tokens = self._encode(model, given.text, field, longest)
            works.append(PoolingInput(head=head, tokens=tokens))
        return works

    def finish(self, results: Sequence[Logits]) -> list[ClassifiedText]:
        """The classes of every text's pieces."""
        return [
            ClassifiedText(tokens=tuple(self._told(pieces, logits)))
            for pieces, logits in zip(self._pieces, results, strict=True)
        ]

    def _told(self, pieces: Sequence[_Piece], logits: Logits) -> Iterator[TokenLabel]:
        chances = softmax(logits)
        best = np.argmax(chances, axis=-1)
        for piece in pieces:
            yield TokenLabel(
                begin=piece.begin,
                end=piece.end,
                text=piece.text,
                label=self._labels[best[piece.place]],
                probability=float(chances[piece.place, best[piece.place]]),
            )

    def _encode(self, model: LoadedModel, text: str, field: str, longest: int) -> tuple[int, ...]:
        check_characters(model, text, field, longest)
        encoded = tokenizer_of(model, field).encode_offsets(text)
        check_filled(encoded.ids, field)
        tokens = with_special_tokens(model, encoded.ids).tokens
        check_length(tokens, field, longest)
        first = len(model.frame.before)
        self._pieces.append(
            [
                _Piece(first + at, begin, end, text[begin:end])
                for at, (begin, end) in enumerate(encoded.offsets)
            ]
        )
        return tokens


def _token(model: LoadedModel, place: int, token: int) -> _Piece:
    words = model.tokenizer
    return _Piece(place, -1, -1, "" if words is None else words.token_text(token))
