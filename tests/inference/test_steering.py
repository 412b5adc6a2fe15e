"""A replica's state, and its weights as they lie in memory."""

from __future__ import annotations

import pytest
import xxhash

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.rpc.channel import mapped_errors

from .served import generate


async def test_without_weights_it_says_so_and_when_to_come_back(replica):
    it = await replica(empty=True)
    with pytest.raises(errors.UnavailableError) as refused:
        await generate(it, text="a")
    assert refused.value.reason == "NOT_READY"
    assert refused.value.retry_after
    status = await it.steering.GetReplicaStatus(
        pb.GetReplicaStatusRequest(), metadata=it.metadata, timeout=5
    )
    assert status.state == pb.REPLICA_STATE_EMPTY
    assert "default/tiny" in status.message
    assert not it.state.healthy


async def test_the_model_is_described(replica, tiny):
    it = await replica()
    reply = await it.inference.GetModel(
        pb.GetModelRequest(model="tiny"), metadata=it.metadata, timeout=5
    )
    config = tiny.model().config
    assert (reply.model, reply.family, reply.set) == ("tiny", "gpt", "default/tiny")
    assert (reply.version, reply.context) == (1, config.context)
    assert reply.parameters == sum(p.numel() for p in tiny.model().module.parameters())


async def test_digests_are_of_the_live_weights(replica, tiny):
    it = await replica()
    module = tiny.model().module
    every = await it.steering.GetDigests(pb.GetDigestsRequest(), metadata=it.metadata, timeout=5)
    expected = {
        name: xxhash.xxh3_64_intdigest(p.detach().numpy().tobytes())
        for name, p in module.named_parameters()
    }
    assert {d.box.tensor: d.checksum for d in every.digests} == expected
    assert every.version == 1
    query = pb.DigestQuery(
        tensor="trunk.decoder.embeddings.tokens.weight", offsets=[3, 8], extents=[5, 16]
    )
    box = await it.steering.GetDigests(
        pb.GetDigestsRequest(boxes=[query]), metadata=it.metadata, timeout=5
    )
    part = module.trunk.decoder.embeddings.tokens.weight.detach().numpy()[3:8, 8:24]
    assert box.digests[0].checksum == xxhash.xxh3_64_intdigest(part.tobytes())


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (pb.DigestQuery(tensor="nothing"), "TENSOR_NOT_FOUND"),
        (
            pb.DigestQuery(tensor="trunk.decoder.norm.weight", offsets=[30], extents=[3]),
            "INVALID_BOX",
        ),
        (
            pb.DigestQuery(tensor="trunk.decoder.norm.weight", offsets=[-1], extents=[3]),
            "INVALID_BOX",
        ),
        (
            pb.DigestQuery(tensor="trunk.decoder.norm.weight", offsets=[0, 0], extents=[3, 1]),
            "INVALID_BOX",
        ),
    ],
)
async def test_digests_of_what_is_not_there(replica, query, reason):
    it = await replica()
    with pytest.raises(errors.InvalidArgumentError) as refused, mapped_errors():
        await it.steering.GetDigests(
            pb.GetDigestsRequest(boxes=[query]), metadata=it.metadata, timeout=5
        )
    assert refused.value.reason == reason
