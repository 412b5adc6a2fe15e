"""Texts as the API takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb

Text = str | Sequence[int]
"""A text, or its token ids."""

Texts = str | Sequence[Text]
"""Many, or one that is no sequence of ids."""

T = TypeVar("T")


def to_inputs(texts: Texts, pairs: str | Sequence[str] | None = None) -> list[pb.Input]:
    """Inputs of texts, and of those that are read together with each.

    Raises:
        InvalidArgumentError: INVALID_FIELD, NUMBERS_DIFFER.
    """
    inputs = [to_input(text, f"texts[{i}]") for i, text in enumerate(listed(texts))]
    if pairs is not None:
        seconds = listed(pairs)
        _check_numbers("pairs", len(seconds), len(inputs))
        for i, (found, pair) in enumerate(zip(inputs, seconds, strict=True)):
            with _sendable(f"pairs[{i}]"):
                found.pair = pair
    return inputs


def to_scored(texts: Texts, contexts: Texts | None = None) -> list[pb.ScoredText]:
    """Texts to score, and what stands before each.

    Raises:
        InvalidArgumentError: INVALID_FIELD, NUMBERS_DIFFER.
    """
    scored = [pb.ScoredText(target=target) for target in to_inputs(texts)]
    if contexts is not None:
        befores = listed(contexts)
        _check_numbers("contexts", len(befores), len(scored))
        for i, (found, before) in enumerate(zip(scored, befores, strict=True)):
            found.context.CopyFrom(to_input(before, f"contexts[{i}]"))
    return scored


def to_questions(asked: Sequence[tuple[Text, Text]]) -> list[pb.Question]:
    """Questions with their contexts.

    Raises:
        InvalidArgumentError: INVALID_FIELD.
    """
    return [
        pb.Question(
            question=to_input(question, f"questions[{i}].question"),
            context=to_input(context, f"questions[{i}].context"),
        )
        for i, (question, context) in enumerate(asked)
    ]


def listed(texts: str | Sequence[T]) -> Sequence[str] | Sequence[T]:
    """Many texts, also where it is one."""
    return [texts] if isinstance(texts, str) else texts


def to_input(text: Text, field: str) -> pb.Input:
    """One text.

    Args:
        text: to send.
        field: of the caller's, for errors.

    Raises:
        InvalidArgumentError: INVALID_FIELD.
    """
    with _sendable(field):
        if isinstance(text, str):
            return pb.Input(text=text)
        return pb.Input(tokens=pb.Tokens(ids=text))


@contextmanager
def _sendable(field: str) -> Iterator[None]:
    """What a message cannot hold is the caller's mistake."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise errors.InvalidArgumentError.at(
            field, f"{error}; give a text, or a sequence of token ids", "INVALID_FIELD"
        ) from None


def _check_numbers(field: str, found: int, texts: int) -> None:
    if found != texts:
        raise errors.InvalidArgumentError.at(
            field, f"{found} of them beside {texts} texts; give one for each", "NUMBERS_DIFFER"
        )
