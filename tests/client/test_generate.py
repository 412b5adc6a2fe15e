"""Generation by a real replica."""

from __future__ import annotations

import threading

import pytest

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.models.tasks import count_parameters

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


PROMPTS = [PROMPT, "class Größe:", "a", "return a + b\n" * 2, "def"]


def test_many_prompts_are_continued_as_each_is_alone(client, served):
    how = {"max_tokens": 12, "seed": 3, "logprobs": True, "stop": ["\n"]}
    found = client.generate_all("tiny", PROMPTS, **how)
    assert len(found) == len(PROMPTS)
    assert found.versions == (1,) * len(PROMPTS)
    for prompt, whole in zip(PROMPTS, found, strict=True):
        parts = list(client.generate("tiny", prompt, **how))
        assert whole.text == "".join(part.text for part in parts)
        assert whole.tokens == [token for part in parts for token in part.tokens]
        logprobs = [score for part in parts for score in part.logprobs]
        assert whole.logprobs == pytest.approx(logprobs, abs=1e-4)
        assert whole.finish_reason == parts[-1].finish_reason
        assert whole.prompt_tokens == parts[-1].prompt_tokens
    by_ids = client.generate_all("tiny", [served.tokenizer.encode(p) for p in PROMPTS], **how)
    assert [whole.tokens for whole in by_ids] == [whole.tokens for whole in found]
    assert client.generate_all("tiny", PROMPT, **how)[0].tokens == found[0].tokens
    assert len(client.generate_all("tiny", [])) == 0


def test_so_many_prompts_are_under_way_at_once_and_no_more(client, served, monkeypatch):
    whole, together = client._replicas.whole, threading.Barrier(3)
    running, most, lock = 0, 0, threading.Lock()

    def counted(*arguments, **options):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        # Nobody goes on before three are there.
        together.wait(20)
        try:
            return whole(*arguments, **options)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(client._replicas, "whole", counted)
    found = client.generate_all("tiny", [PROMPT] * 9, max_tokens=4, temperature=0, at_once=3)
    assert most == 3
    assert len({str(answer.tokens) for answer in found}) == 1


def test_beams_of_many(client, served):
    found = client.generate_all("tiny", PROMPTS[:2], max_tokens=4, beams=3)
    for prompt, whole in zip(PROMPTS, found, strict=False):
        assert [whole] == list(client.generate("tiny", prompt, max_tokens=4, beams=3))


@pytest.mark.parametrize(
    ("prompt", "how", "reason", "field"),
    [
        ("", {}, "EMPTY_PROMPT", "prompts[1].text"),
        ([], {}, "EMPTY_PROMPT", "prompts[1].tokens"),
        ([0.5], {}, "INVALID_FIELD", "prompts[1]"),
        ([1, 10**6], {}, "TOKEN_OUT_OF_RANGE", "prompts[1].tokens.ids[1]"),
        ("x" * 500, {}, "PROMPT_TOO_LONG", "prompts[1].text"),
        ("b", {"max_tokens": 0}, "INVALID_FIELD", "max_tokens"),
        ("b", {"beams": 2, "seed": 1}, "SAMPLING_WITH_BEAMS", "sampling.seed"),
        ("b", {"at_once": 0}, "INVALID_FIELD", "at_once"),
    ],
)
@pytest.mark.usefixtures("served")
def test_mistakes_in_many_name_the_prompt(client, prompt, how, reason, field):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        client.generate_all("tiny", ["a", prompt], **how)
    assert caught.value.reason == reason
    assert caught.value.violations[0].field == field
    assert caught.value.message.startswith(field)


def test_model(client, served):
    found = client.model("tiny")
    assert (found.set, found.version, found.family) == ("default/tiny", 1, "gpt")
    assert found.parameters == count_parameters(served.config)


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
