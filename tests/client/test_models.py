"""Sets, export, deployments and generation through a real parameter service and replica."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tessera import errors
from tessera.api.controller.v1 import deployment_pb2
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.client.names import parse_version
from tessera.rpc.channel import channel

PROMPT = "def add(a, b):"


def test_sets_and_versions(client, tiny):
    (found,) = [item for item in client.sets() if item.name == "default/tiny"]
    assert (found.head.number, found.head.step) == (1, 7)
    (version,) = client.versions("tiny")
    assert version == client.versions("default/tiny")[0]
    assert (version.number, version.job, dict(version.labels)) == (1, "j1", {"loss": "2"})
    with pytest.raises(errors.NotFoundError) as caught:
        client.versions("nope")
    assert caught.value.reason == "SET_NOT_FOUND"


def test_export_is_what_transformers_loads(client, tiny, tmp_path):
    done = client.export("tiny@1", tmp_path / "model")
    assert (done.set, done.version) == ("default/tiny", 1)
    model = AutoModelForCausalLM.from_pretrained(done.folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(done.folder)
    ids = tokenizer(PROMPT)["input_ids"]
    assert ids == tiny.tokenizer.encode(PROMPT)
    with torch.inference_mode():
        ours = tiny.module(torch.tensor([ids]))
        theirs = model(torch.tensor([ids])).logits
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert model.config.eos_token_id == tiny.tokenizer.end_id
    assert model.dtype == torch.float32


def test_export_replaces_only_when_told_and_leaves_nothing_behind(client, tiny, tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    client.export("tiny", target)  # An empty folder is fine.
    (target / "notes").write_text("mine")
    with pytest.raises(errors.AlreadyExistsError, match="--force") as caught:
        client.export("tiny", target)
    assert caught.value.reason == "DIRECTORY_NOT_EMPTY"
    assert (target / "notes").exists()
    client.export("tiny", target, force=True)
    assert not (target / "notes").exists()
    assert (target / "model.safetensors").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("reference", "kind", "reason"),
    [
        ("tiny@99", errors.NotFoundError, "VERSION_NOT_FOUND"),
        ("nope", errors.NotFoundError, "SET_NOT_FOUND"),
        ("tiny@", errors.InvalidArgumentError, "BAD_VERSION"),
        ("tiny@x", errors.InvalidArgumentError, "BAD_VERSION"),
        ("tiny@0", errors.InvalidArgumentError, "BAD_VERSION"),
        ("../x", errors.InvalidArgumentError, "BAD_VERSION"),
    ],
)
def test_export_of_nothing(  # noqa: PLR0917 - fixtures and parameters
    client, tiny, tmp_path, reference, kind, reason
):
    with pytest.raises(kind) as caught:
        client.export(reference, tmp_path / "model")
    assert caught.value.reason == reason
    assert not list(tmp_path.iterdir())


def test_names():
    assert parse_version("a", "t") == ("t/a", 0)
    assert parse_version("a@12", "t") == ("t/a", 12)
    assert parse_version("u/a@12", "t") == ("u/a", 12)


def test_generate(client, served):
    parts = list(client.generate("tiny", PROMPT, max_tokens=8, temperature=0, logprobs=True))
    tokens = [token for part in parts for token in part.tokens]
    assert parts[-1].finish_reason in {pb.FINISH_REASON_LENGTH, pb.FINISH_REASON_END}
    assert {part.version for part in parts} == {1}
    assert parts[-1].prompt_tokens == len(served.tokenizer.encode(PROMPT))
    ids = served.tokenizer.encode(PROMPT)
    with torch.inference_mode():
        for token in tokens:
            assert token == int(served.module(torch.tensor([ids]))[0, -1].argmax())
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
    client._replicas._forget("tiny")
    client._replicas._channels["tiny"] = channel("127.0.0.1:1")
    parts = list(client.generate("tiny", PROMPT, max_tokens=2, temperature=0))
    assert sum(len(part.tokens) for part in parts) == 2


def test_deployments(client, tiny):
    spec = deployment_pb2.DeploymentSpec(name="other", model="tiny")
    made = client.deployments.create(spec)
    assert made.state == deployment_pb2.DEPLOYMENT_STATE_PENDING
    assert client.deployments.create(spec).create_time == made.create_time
    assert "other" in [found.spec.name for found in client.deployments.list()]
    with pytest.raises(errors.DeadlineExceededError, match="not ready after 0 s") as caught:
        client.deployments.wait("other", 0)
    assert caught.value.reason == "DEPLOYMENT_NOT_READY"
    other = deployment_pb2.DeploymentSpec(name="other", model="tiny@1")
    with pytest.raises(errors.AlreadyExistsError):
        client.deployments.create(other)
    client.deployments.delete("other")
    with pytest.raises(errors.NotFoundError):
        client.deployments.delete("nope")
    with pytest.raises(errors.NotFoundError):
        client.deployments.create(deployment_pb2.DeploymentSpec(name="bad", model="nope"))
