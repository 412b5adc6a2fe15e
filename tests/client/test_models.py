"""Sets, export and deployments through a real parameter service."""

from __future__ import annotations

import pytest
import torch

from tessera import errors
from tessera.api.controller.v1 import deployment_pb2

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
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 - slow to load

    done = client.export("tiny@1", tmp_path / "model")
    assert (done.set, done.version) == ("default/tiny", 1)
    model = AutoModelForCausalLM.from_pretrained(done.folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(done.folder)
    ids = tokenizer(PROMPT)["input_ids"]
    assert ids == tiny.tokenizer.encode(PROMPT)
    with torch.inference_mode():
        theirs = model(torch.tensor([ids])).logits[0]
    assert torch.allclose(tiny.logits(ids), theirs, atol=1e-4)
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
        ("tiny@", errors.InvalidArgumentError, "INVALID_REFERENCE"),
        ("tiny@x", errors.InvalidArgumentError, "INVALID_REFERENCE"),
        ("tiny@0", errors.InvalidArgumentError, "INVALID_REFERENCE"),
        ("../x", errors.InvalidArgumentError, "INVALID_REFERENCE"),
    ],
)
def test_export_of_nothing(  # noqa: PLR0917 - fixtures and parameters
    client, tiny, tmp_path, reference, kind, reason
):
    with pytest.raises(kind) as caught:
        client.export(reference, tmp_path / "model")
    assert caught.value.reason == reason
    assert not list(tmp_path.iterdir())


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
    with pytest.raises(errors.DeadlineExceededError, match="not ended after 0 s") as caught:
        client.deployments.wait_ended("other", 0)
    assert caught.value.reason == "DEPLOYMENT_NOT_ENDED"
    client.deployments.delete("other")
    client.deployments.wait_ended("other", 5)
    with pytest.raises(errors.NotFoundError):
        client.deployments.delete("nope")
    with pytest.raises(errors.NotFoundError):
        client.deployments.create(deployment_pb2.DeploymentSpec(name="bad", model="nope"))
