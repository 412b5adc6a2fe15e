"""Generation by a real replica."""

from __future__ import annotations

import pytest

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb

PROMPT = "def add(a, b):"


def test_generate(client, served):
    parts = list(client.generate("tiny", PROMPT, max_tokens=8, temperature=0, logprobs=True))
    tokens = [token for part in parts for token in part.tokens]
    assert parts[-1].finish_reason in {pb.FINISH_REASON_LENGTH, pb.FINISH_REASON_END}
    assert {part.version for part in parts} == {1}
    assert parts[-1].prompt_tokens == len(served.tokenizer.encode(PROMPT))
    ids = served.tokenizer.encode(PROMPT)
    for token in tokens:
        assert token == int(served.logits(ids)[-1].argmax())
        ids = [*ids, token]
    by_id = client.generate("tiny", served.tokenizer.encode(PROMPT), max_tokens=8, temperature=0)
    assert [token for part in by_id for token in part.tokens] == tokens


def test_same_seed_same_answer(client, served):
    def answer(seed):
        parts = client.generate("tiny", PROMPT, max_tokens=20, seed=seed)
        return [token for part in parts for token in part.tokens]

    assert answer(1) == answer(1)
    assert answer(1) != answer(2)


def test_model(client, served):
    found = client.model("tiny")
    assert (found.set, found.version, found.family) == ("default/tiny", 1, "gpt")
    assert found.parameters == served.config.parameters


@pytest.mark.parametrize(
    ("fields", "kind", "reason"),
    [
        ({"max_tokens": 0}, errors.InvalidArgumentError, "INVALID_FIELD"),
        ({"max_tokens": 1 << 40}, errors.InvalidArgumentError, "INVALID_FIELD"),
        ({"temperature": -1}, errors.InvalidArgumentError, "INVALID_FIELD"),
        ({"prompt": "x" * 500}, errors.InvalidArgumentError, "PROMPT_TOO_LONG"),
        ({"prompt": ""}, errors.InvalidArgumentError, "EMPTY_PROMPT"),
        ({"prompt": []}, errors.InvalidArgumentError, "EMPTY_PROMPT"),
        ({"prompt": [10**6]}, errors.InvalidArgumentError, "TOKEN_OUT_OF_RANGE"),
        ({"model": "nope"}, errors.NotFoundError, "DEPLOYMENT_NOT_FOUND"),
    ],
    ids=str,
)
def test_bad_request(client, served, fields, kind, reason):
    request = {"model": "tiny", "prompt": PROMPT, **fields}
    with pytest.raises(kind) as caught:
        list(client.generate(request.pop("model"), request.pop("prompt"), **request))
    assert caught.value.reason == reason


def test_a_replica_that_is_gone_is_replaced(client, served):
    list(client.generate("tiny", PROMPT, max_tokens=1))
    # As if it had moved: the address that is known answers no more.
    client._replicas._addresses["tiny"] = "127.0.0.1:1"
    parts = list(client.generate("tiny", PROMPT, max_tokens=2, temperature=0))
    assert sum(len(part.tokens) for part in parts) == 2
