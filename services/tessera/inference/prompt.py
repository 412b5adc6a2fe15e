"""Prompts of requests: to token ids, and whether a model can take them. Pure but for the model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tessera import errors
from tessera.inference.engine.model import LoadedModel

_QUICK_CHARACTERS = 4096
"""Texts longer than this are encoded off the event loop."""


async def encode(model: LoadedModel, prompt: str | Sequence[int], context: int) -> tuple[int, ...]:
    """Token ids of a prompt.

    Args:
        model: that will answer.
        prompt: text or ids.
        context: longest sequence in tokens, the answer included.

    Raises:
        InvalidArgumentError: EMPTY_PROMPT, PROMPT_TOO_LONG, TOKEN_OUT_OF_RANGE or NO_TOKENIZER.
    """
    if isinstance(prompt, str):
        field, ids = "text", await _encode_text(model, prompt)
    else:
        field, ids = "tokens", tuple(prompt)
        _check_range(model, ids)
    if not ids:
        raise errors.InvalidArgumentError.at(
            field, "the prompt is empty; give at least one token", "EMPTY_PROMPT"
        )
    if len(ids) >= context:
        raise errors.InvalidArgumentError.at(
            field,
            f"the prompt has {len(ids)} tokens, but the model's context is {context} tokens and"
            f" the answer needs at least one of them; shorten it to {context - 1}",
            "PROMPT_TOO_LONG",
            metadata={"prompt_tokens": str(len(ids)), "context": str(context)},
        )
    return ids


async def _encode_text(model: LoadedModel, text: str) -> tuple[int, ...]:
    if model.tokenizer is None:
        raise errors.InvalidArgumentError.at(
            "text", "this model has no tokenizer; send `tokens`", "NO_TOKENIZER"
        )
    if len(text) <= _QUICK_CHARACTERS:
        return tuple(model.tokenizer.encode(text))
    return tuple(await asyncio.to_thread(model.tokenizer.encode, text))


def _check_range(model: LoadedModel, ids: Sequence[int]) -> None:
    size = model.config.vocab_size
    for index, token in enumerate(ids):
        if not 0 <= token < size:
            raise errors.InvalidArgumentError.at(
                f"tokens.ids[{index}]",
                f"{token} is not a token id of this model; use 0 to {size - 1}",
                "TOKEN_OUT_OF_RANGE",
            )
