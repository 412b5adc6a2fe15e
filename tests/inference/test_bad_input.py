"""Bad input is refused, and the field is named."""

from __future__ import annotations

import pytest

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb

from .served import generate

BAD = [
    (
        "another model",
        {"model": "other", "text": "a"},
        errors.NotFoundError,
        "MODEL_NOT_FOUND",
        "model",
    ),
    ("no input", {}, errors.InvalidArgumentError, "INVALID_FIELD", "input"),
    ("empty text", {"text": ""}, errors.InvalidArgumentError, "EMPTY_PROMPT", "text"),
    ("no tokens", {"tokens": pb.Tokens()}, errors.InvalidArgumentError, "EMPTY_PROMPT", "tokens"),
    ("long text", {"text": "\0" * 70}, errors.InvalidArgumentError, "PROMPT_TOO_LONG", "text"),
    (
        "very long text",
        {"text": "\0\1" * 5000},
        errors.InvalidArgumentError,
        "PROMPT_TOO_LONG",
        "text",
    ),
    (
        "long tokens",
        {"tokens": pb.Tokens(ids=[1] * 64)},
        errors.InvalidArgumentError,
        "PROMPT_TOO_LONG",
        "tokens",
    ),
    (
        "negative token",
        {"tokens": pb.Tokens(ids=[1, -1])},
        errors.InvalidArgumentError,
        "TOKEN_OUT_OF_RANGE",
        "tokens.ids[1]",
    ),
    (
        "token past the vocabulary",
        {"tokens": pb.Tokens(ids=[5000])},
        errors.InvalidArgumentError,
        "TOKEN_OUT_OF_RANGE",
        "tokens.ids[0]",
    ),
    (
        "max_tokens 0",
        {"text": "a", "max_tokens": 0},
        errors.InvalidArgumentError,
        "INVALID_FIELD",
        "max_tokens",
    ),
    (
        "top_p 0",
        {"text": "a", "sampling": pb.Sampling(top_p=0)},
        errors.InvalidArgumentError,
        "INVALID_FIELD",
        "sampling.top_p",
    ),
    (
        "empty stop",
        {"text": "a", "stop": ["ok", ""]},
        errors.InvalidArgumentError,
        "INVALID_FIELD",
        "stop[1]",
    ),
    (
        "chance in a beam search",
        {"text": "a", "beams": 2, "sampling": pb.Sampling(temperature=1)},
        errors.InvalidArgumentError,
        "SAMPLING_WITH_BEAMS",
        "sampling.temperature",
    ),
    (
        "a seed in a beam search",
        {"text": "a", "beams": 2, "sampling": pb.Sampling(temperature=0, seed=1)},
        errors.InvalidArgumentError,
        "SAMPLING_WITH_BEAMS",
        "sampling.seed",
    ),
    (
        "length_penalty out of bounds",
        {"text": "a", "beams": 2, "length_penalty": 11},
        errors.InvalidArgumentError,
        "INVALID_FIELD",
        "length_penalty",
    ),
]


@pytest.mark.parametrize(
    ("fields", "kind", "reason", "field"),
    [case[1:] for case in BAD],
    ids=[case[0] for case in BAD],
)
async def test_bad_input_is_refused_and_named(replica, fields, kind, reason, field):
    it = await replica()
    with pytest.raises(kind) as refused:
        await generate(it, **fields)
    assert refused.value.reason == reason
    assert refused.value.violations[0].field == field
    if reason == "PROMPT_TOO_LONG":
        facts = refused.value.metadata
        assert facts["context"] == "64"
        assert facts.get("prompt_tokens", facts.get("characters")) in refused.value.message
        assert "64" in refused.value.message
