"""The whole path: submit, watch, commit, deploy, generate; weights by gRPC only."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from google.protobuf import json_format
from platforms import Platform
from transformers import AutoModelForCausalLM, AutoTokenizer

from tessera.api.controller.v1 import job_pb2 as job_pb
from tessera.api.controller.v1 import registry_pb2 as registry_pb
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.api.inference.v1 import inference_pb2_grpc as pb_grpc
from tessera.rpc.channel import bearer

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

PROMPT = "def main():\n    return "


def generate(platform: Platform, address: str, **fields) -> list[pb.GenerateResponse]:
    request = pb.GenerateRequest(model="tiny", **fields)
    with platform.stub(pb_grpc.InferenceServiceStub, address) as stub:
        return list(stub.Generate(request, metadata=bearer(platform.token), timeout=60))


@pytest.fixture(scope="module")
def replica(platform, deployed) -> str:
    return platform.endpoints(registry_pb.ROLE_REPLICA, f"{deployed}/0")[0].control_address


def test_the_job_tells_its_history_without_gaps(platform, trained):
    events = platform.events(trained)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    states = [event.state for event in events]
    assert states == sorted(states)
    assert states.count(job_pb.JOB_STATE_SUCCEEDED) == 1
    assert [e for e in events if e.type == "version"]
    job = platform.job(trained)
    assert len(job.attempts) == 1
    assert job.progress.step == job.progress.total_steps == 30


def test_every_step_was_reported_and_the_loss_fell(platform, trained):
    losses = platform.losses(trained)
    assert sorted(losses) == list(range(1, 31))
    assert all(math.isfinite(loss) for loss in losses.values())
    assert np.mean([losses[s] for s in range(26, 31)]) < losses[1] - 0.5
    last = platform.job(trained).progress
    assert last.held_out_loss > 0
    assert last.baseline_loss > 0


def test_versions_carry_all_groups_and_assets(platform, trained):
    coordinator = platform.coordinator()
    versions = coordinator.list_versions("default/tiny")
    assert [version.step for version in versions] == [30, 20, 10]
    manifest = coordinator.get_manifest("default/tiny")
    assert {tensor.group for tensor in manifest.tensors} == {"model", "optimizer", "state"}
    assert {"config.json", "tokenizer.json", "job.json"} <= set(manifest.assets)
    assert {piece.shard for piece in manifest.slices} == {"shard-0", "shard-1"}
    model = [t for t in manifest.tensors if t.group == "model"]
    optimizer = {t.name for t in manifest.tensors if t.group == "optimizer"}
    assert optimizer == {f"{k}/{t.name}" for t in model for k in ("exp_avg", "exp_avg_sq", "step")}
    coordinator.close()


def test_the_replica_holds_the_ranks_own_bytes(platform, trained, replica):
    """Hashes of the ranks' live tensors equal those of what the replica has loaded."""
    event = [e for e in platform.events(trained) if e.type == "digests"][-1]
    details = json_format.MessageToDict(event.details)
    told = {
        (d["tensor"], tuple(map(int, d["offsets"])), tuple(map(int, d["extents"]))): int(
            d["checksum"], 16
        )
        for d in details["digests"]
    }
    assert len(told) > 10
    boxes = [pb.DigestQuery(tensor=t, offsets=o, extents=e) for t, o, e in told]
    reply = platform.call(
        pb_grpc.ReplicaServiceStub, "GetDigests", pb.GetDigestsRequest(boxes=boxes), replica
    )
    assert reply.version == int(details["version"])
    found = {
        (d.box.tensor, tuple(d.box.offsets), tuple(d.box.extents)): d.checksum
        for d in reply.digests
    }
    assert found == told


def test_generation_names_its_version_and_follows_its_seed(platform, replica):
    head = platform.coordinator().list_versions("default/tiny")[0].number
    sampling = pb.Sampling(temperature=0.8, top_k=40, top_p=0.95, seed=3)
    first = generate(platform, replica, text=PROMPT, max_tokens=24, sampling=sampling)
    again = generate(platform, replica, text=PROMPT, max_tokens=24, sampling=sampling)
    tokens = [t for part in first for t in part.tokens]
    assert tokens == [t for part in again for t in part.tokens]
    # A reader that is slow gets several steps at once, but never everything at the end.
    assert 0 < len(first[0].tokens) < len(tokens), "it streams"
    assert {part.version for part in first if part.tokens} == {head}
    assert first[-1].finish_reason in {pb.FINISH_REASON_LENGTH, pb.FINISH_REASON_END}


def test_logprobs_equal_transformers_on_the_exported_folder(platform, replica, tmp_path):
    platform.run("export", "tiny", str(tmp_path / "out"))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    prompt = tokenizer(PROMPT)["input_ids"]
    parts = generate(
        platform, replica, text=PROMPT, max_tokens=12, logprobs=True, sampling=pb.Sampling(seed=1)
    )
    tokens = [t for part in parts for t in part.tokens]
    told = [p for part in parts for p in part.logprobs]
    assert len(told) == len(tokens) > 0
    assert parts[-1].prompt_tokens == len(prompt)
    with torch.no_grad():
        logits = model(torch.tensor([prompt + tokens])).logits[0].float()
    scores = torch.log_softmax(logits, -1)[len(prompt) - 1 : -1]
    expected = scores.gather(1, torch.tensor(tokens)[:, None])[:, 0]
    np.testing.assert_allclose(told, expected.numpy(), atol=1e-4)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["model_type"] == "gpt2"


def test_no_weights_lie_outside_the_parameter_service(platform, trained, deployed):
    """Neither the job nor the replica has left a checkpoint anywhere."""
    places = [Path(platform.state.ray_temp_dir), platform.home.path / "blobs"]
    for place in places:
        names = [
            p.name for p in place.rglob("*") if p.suffix in {".pt", ".bin", ".safetensors", ".ckpt"}
        ]
        assert names == []
