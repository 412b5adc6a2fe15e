"""Prompts: to what the engine runs, and whether a model can take them."""

from __future__ import annotations

from tessera import errors
from tessera.inference.engine.bounds import Bounds
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.sequence import Request
from tessera.inference.tasks.text_input import (
    TextInput,
    check_characters,
    check_range,
    tokenizer,
    with_special_tokens,
)
from tessera.inference.tasks.writing import SamplingParams, check_room, first_token


def prepare(
    model: LoadedModel, bounds: Bounds, given: TextInput, params: SamplingParams
) -> Request:
    """A request to go on with a prompt, which the encoder reads where there is one.

    Args:
        model: that will answer.
        bounds: of the engine.
        given: the prompt.
        params: how to write.

    Raises:
        InvalidArgumentError: EMPTY_PROMPT, PROMPT_TOO_LONG, TOKEN_OUT_OF_RANGE, NO_TOKENIZER or
            TOO_MANY_BEAMS.
    """
    field = "text" if given.tokens is None else "tokens"
    longest = bounds.writing(model) if model.config.encoder is None else bounds.source(model)
    ids = _encode(model, given, field, longest)
    if not ids:
        raise errors.InvalidArgumentError.at(
            field, "the prompt is empty; give at least one token", "EMPTY_PROMPT"
        )
    if params.stop and model.tokenizer is None:
        raise errors.InvalidArgumentError.at(
            "stop", "this model has no tokenizer, so it writes no text", "NO_TOKENIZER"
        )
    if model.config.encoder is None:
        _check_length(ids, field, longest, answer=1)
        request = params.request(ids)
    else:
        source = ids if given.tokens is not None else with_special_tokens(model, ids).tokens
        _check_length(source, field, longest, answer=0)
        request = params.request((first_token(model),), source)
    check_room(request, model, bounds)
    return request


def _encode(model: LoadedModel, given: TextInput, field: str, longest: int) -> tuple[int, ...]:
    if given.tokens is None:
        check_characters(model, given.text, field, longest, "PROMPT_TOO_LONG")
        ids = tokenizer(model, field).encode(given.text)
        return (*model.opening, *ids) if ids and model.config.encoder is None else tuple(ids)
    check_range(given.tokens, field, model.config.vocab_size)
    return given.tokens


def _check_length(ids: tuple[int, ...], field: str, context: int, *, answer: int) -> None:
    if len(ids) + answer > context:
        needs = " and the answer needs at least one of them" if answer else ""
        raise errors.InvalidArgumentError.at(
            field,
            f"the prompt has {len(ids)} tokens, but the model's context is {context} tokens"
            f"{needs}; shorten it to {context - answer}",
            "PROMPT_TOO_LONG",
            metadata={"prompt_tokens": str(len(ids)), "context": str(context)},
        )
