"""Texts as they are asked about, and as a model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tessera import errors
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.models.config import ModelConfig
from tessera.models.registry import family
from tessera.models.tasks import READS
from tessera.text.tokenizer import Encoded, Tokenizer

WORD = 128
"""Characters that one token may stand for where the vocabulary has shorter ones: BERT makes one
unknown token of a word of up to 100, and normalisers shorten texts.
"""
MAX_CHARACTERS = 2_000_000
"""Of one text, whatever reads it: a tokenizer takes about a second for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextInput:
    """One text, or its tokens.

    Args:
        text: empty where tokens are given.
        tokens: taken as they are; None: a text is given.
        pair: a second text; empty: there is none.
    """

    text: str = ""
    tokens: tuple[int, ...] | None = None
    pair: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedInput:
    """What a model reads.

    Args:
        tokens: with the special tokens empty.
        segments: of the tokens; empty: 0.
    """

    tokens: tuple[int, ...]
    segments: tuple[int, ...] = ()


def with_special_tokens(
    model: LoadedModel, first: Sequence[int], second: Sequence[int] | None = None
) -> EncodedInput:
    """Put special tokens around a text, or two, as in training."""
    if second is None:
        return EncodedInput(tokens=tuple(model.frame.around(first)))
    tokens, place = model.frame.around_pair(first, second)
    return EncodedInput(
        tokens=tuple(tokens), segments=tuple(model.frame.segments(place, len(tokens)))
    )


def read(
    model: LoadedModel, given: TextInput, field: str, longest: int, *, marked: bool = False
) -> EncodedInput:
    """What a model reads of a text.

    Args:
        model: that reads it.
        given: the text.
        field: of the request, for errors.
        longest: tokens that it may have.
        marked: whether special tokens may be written in it.

    Raises:
        InvalidArgumentError: EMPTY_INPUT, INPUT_TOO_LONG, TOKEN_OUT_OF_RANGE, NO_TOKENIZER,
            PAIR_BESIDE_TOKENS or PAIR_NOT_READ.
    """
    if given.tokens is not None:
        if given.pair:
            raise errors.InvalidArgumentError.at(
                f"{field}.pair",
                "a second text goes only with a text; put both into `tokens`, or none",
                "PAIR_BESIDE_TOKENS",
            )
        check_range(given.tokens, f"{field}.tokens", model.config.vocab_size)
        check_filled(given.tokens, field)
        encoded_input = EncodedInput(tokens=given.tokens)
    else:
        for text in (given.text, given.pair):
            check_characters(model, text, field, longest)
        encoded_input = _encode_text(model, given, field, marked=marked)
    check_length(encoded_input.tokens, field, longest)
    return encoded_input


def plain(
    model: LoadedModel, given: TextInput, field: str, size: int, longest: int = MAX_CHARACTERS
) -> Encoded:
    """A text with nothing around it; where tokens were given, each stands for its own place.

    Args:
        model: that reads it.
        given: the text.
        field: of the request, for errors.
        size: of the vocabulary that it is in.
        longest: tokens that it may have; whoever gives it looks at the tokens too.

    Raises:
        InvalidArgumentError: EMPTY_INPUT, INPUT_TOO_LONG, TOKEN_OUT_OF_RANGE, NO_TOKENIZER or
            PAIR_NOT_READ.
    """
    check_pair(model.config, given, field, able=False)
    if given.tokens is None:
        check_characters(model, given.text, field, longest)
        encoded = tokenizer(model, field).encode_offsets(given.text)
    else:
        check_range(given.tokens, f"{field}.tokens", size)
        places = [(place, place + 1) for place in range(len(given.tokens))]
        encoded = Encoded(list(given.tokens), places)
    check_filled(encoded.ids, field)
    return encoded


def tokenizer(model: LoadedModel, field: str) -> Tokenizer:
    """The tokenizer of a model.

    Raises:
        InvalidArgumentError: NO_TOKENIZER.
    """
    if model.tokenizer is None:
        raise errors.InvalidArgumentError.at(
            field, "this model has no tokenizer; send `tokens`", "NO_TOKENIZER"
        )
    return model.tokenizer


def check_filled(tokens: Sequence[int], field: str) -> None:
    """Raise InvalidArgumentError EMPTY_INPUT if there is no token."""
    if not tokens:
        raise errors.InvalidArgumentError.at(
            field, "it is empty; give at least one token", "EMPTY_INPUT"
        )


def check_length(tokens: Sequence[int], field: str, longest: int) -> None:
    """Raise InvalidArgumentError INPUT_TOO_LONG if there are too many tokens."""
    if len(tokens) > longest:
        raise errors.InvalidArgumentError.at(
            field,
            f"it has {len(tokens)} tokens, special ones included, but the model reads {longest};"
            " shorten it",
            "INPUT_TOO_LONG",
            metadata={"tokens": str(len(tokens)), "context": str(longest)},
        )


def check_characters(
    model: LoadedModel, text: str, field: str, longest: int, reason: str = "INPUT_TOO_LONG"
) -> None:
    """Raise InvalidArgumentError if a text is too long whatever its tokens are.

    Args:
        model: that would read it.
        text: not encoded yet: that is what this spares.
        field: of the request.
        longest: tokens that it may have.
        reason: of the error.
    """
    token = WORD if model.tokenizer is None else max(WORD, model.tokenizer.longest)
    most = min(MAX_CHARACTERS, longest * token)
    if len(text) > most:
        raise errors.InvalidArgumentError.at(
            field,
            f"it has {len(text)} characters, but {longest} tokens, the most that are read, have"
            f" {most} at most; shorten it",
            reason,
            metadata={"characters": str(len(text)), "most": str(most), "context": str(longest)},
        )


def check_range(tokens: Sequence[int], field: str, size: int) -> None:
    """Raise InvalidArgumentError TOKEN_OUT_OF_RANGE if a token is none of a vocabulary's."""
    if not tokens or (min(tokens) >= 0 and max(tokens) < size):
        return
    for index, token in enumerate(tokens):
        if not 0 <= token < size:
            raise errors.InvalidArgumentError.at(
                f"{field}.ids[{index}]",
                f"{token} is not a token id of this model; use 0 to {size - 1}",
                "TOKEN_OUT_OF_RANGE",
            )


def check_pair(config: ModelConfig, given: TextInput, field: str, *, able: bool = True) -> None:
    """Raise InvalidArgumentError PAIR_NOT_READ if there is a second text that nothing reads."""
    if given.pair and not (able and READS in family(config.family).offers):
        raise errors.InvalidArgumentError.at(
            f"{field}.pair", "this model reads one text at a time; leave it out", "PAIR_NOT_READ"
        )


def _encode_text(model: LoadedModel, given: TextInput, field: str, *, marked: bool) -> EncodedInput:
    words = tokenizer(model, field)
    encode = words.encode_marked if marked else words.encode
    check_pair(model.config, given, field)
    first = encode(given.text)
    check_filled(first, field)
    if not given.pair:
        return with_special_tokens(model, first)
    second = encode(given.pair)
    check_filled(second, f"{field}.pair")
    return with_special_tokens(model, first, second)
