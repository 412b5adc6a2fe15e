"""A whole replica beside a real controller and a real parameter service; only Ray is missing."""

from __future__ import annotations

import asyncio
import random

import pytest
import torch
import xxhash

from tessera import errors
from tessera.api.controller.v1 import registry_pb2
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.device import Device
from tessera.inference.weights import Loader
from tessera.models.inputs import Inputs
from tessera.rpc.channel import mapped_errors
from tessera.rpc.registration import resolve
from tessera.weights.coordinator import Coordinator

from .replicas import Writer, active

pytestmark = pytest.mark.processes


async def test_a_fixed_version_is_served_as_it_was_committed(platform, serve, tiny):
    writer = Writer(platform, "fixed")
    first = writer.publish(tiny.model(1))
    writer.publish(tiny.model(2))
    platform.deploy("fixed", f"fixed@{first}")
    client = await serve("fixed")
    await client.until(active(first))
    assert await client.generate((5, 6), 20) == (first, tiny.naive(tiny.model(1), (5, 6), 20))
    digests = await client.steering.GetDigests(
        pb.GetDigestsRequest(), metadata=client.metadata, timeout=10
    )
    assert digests.version == first
    assert {d.box.tensor: d.checksum for d in digests.digests} == {
        name: xxhash.xxh3_64_intdigest(p.detach().numpy().tobytes())
        for name, p in tiny.model(1).module.named_parameters()
    }


async def test_it_waits_for_the_first_version_and_says_so(platform, serve, tiny):
    platform.deploy("early", "early")
    client = await serve("early")
    status = await client.until(lambda status: "early" in status.message)
    assert status.state == pb.REPLICA_STATE_EMPTY
    assert await client.health() == "NOT_SERVING"
    with pytest.raises(errors.UnavailableError) as refused:
        await client.generate((1,), 1)
    assert refused.value.reason == "NOT_READY"
    version = Writer(platform, "early").publish(tiny.model(1))
    await client.until(active(version))
    assert await client.generate((1,), 5) == (version, tiny.naive(tiny.model(1), (1,), 5))
    await asyncio.sleep(0.1)
    assert await client.health() == "SERVING"


async def test_labels_tell_the_registry_what_is_served(platform, serve, tiny):
    version = Writer(platform, "labelled").publish(tiny.model(1))
    platform.deploy("labelled", "labelled")
    client = await serve("labelled")
    await client.until(active(version))
    await asyncio.sleep(0.3)
    (endpoint,) = await resolve(
        platform.address, platform.token, registry_pb2.ROLE_REPLICA, "labelled/"
    )
    assert endpoint.name == "labelled/0"
    assert endpoint.control_address == client.address
    assert endpoint.labels["state"] == "active"
    assert endpoint.labels["version"] == str(version)
    assert endpoint.labels["deployment"] == "labelled"


async def test_under_load_every_answer_is_of_the_version_that_it_names(platform, serve, tiny):
    writer = Writer(platform, "hot")
    models = {writer.publish(tiny.model(1)): tiny.model(1)}
    platform.deploy("hot", "hot", max_batch=6)
    client = await serve("hot")
    await client.until(active(min(models)))
    ended, answers = asyncio.Event(), set()

    async def user(number):
        chance = random.Random(number)
        while not ended.is_set():
            prompt = tuple(range(1, chance.randint(2, 8)))
            version, tokens = await client.generate(prompt, 25)
            answers.add((version, prompt, tuple(tokens)))

    users = [asyncio.create_task(user(number)) for number in range(6)]
    for seed in range(2, 6):
        model = tiny.model(seed)
        version = await asyncio.to_thread(writer.publish, model)
        models[version] = model
        await client.until(active(version))
        await asyncio.sleep(0.1)
    ended.set()
    await asyncio.gather(*users)
    for version, prompt, tokens in answers:
        assert list(tokens) == tiny.naive(models[version], prompt, 25)
    assert {version for version, _, _ in answers} == set(models)
    status = await client.until(lambda status: not status.running)
    assert status.free_blocks == status.total_blocks


@pytest.mark.parametrize("kind", ["translation", "classification", "adapters"])
async def test_every_family_is_served_as_it_was_committed(platform, serve, tiny, kind):
    model = {
        "translation": lambda: tiny.model(family="transformer"),
        "classification": lambda: tiny.model(
            family="bert", task="classification", labels=("x", "y")
        ),
        "adapters": lambda: tiny.model(lora=True),
    }[kind]()
    version = Writer(platform, kind).publish(model)
    platform.deploy(kind, kind)
    client = await serve(kind)
    await client.until(active(version))
    assert kind != "adapters" or any("lora" in n for n, _ in model.module.named_parameters())
    if kind == "classification":
        request = pb.ClassifyRequest(model=kind, inputs=[pb.Input(tokens=pb.Tokens(ids=[5, 6]))])
        reply = await client.inference.Classify(request, metadata=client.metadata, timeout=10)
        logits = model.module(Inputs(torch.tensor([[5, 6]]))).logits[0].detach()
        best = reply.classifications[0].labels[0]
        assert best.label == ("x", "y")[logits.argmax()]
        assert best.probability == pytest.approx(float(logits.softmax(-1).max()), abs=1e-5)
        return
    source = (5, 6) if kind == "translation" else ()
    prompt = (model.config.first_id,) if source else (5, 6)
    expected = tiny.naive(model, prompt, 20, source)
    assert await client.generate((5, 6), 20) == (version, expected)


async def test_it_follows_a_set_that_is_rolled_back(platform, serve, tiny):
    writer = Writer(platform, "back")
    versions = [writer.publish(tiny.model(seed)) for seed in (1, 2)]
    platform.deploy("back", "back")
    client = await serve("back")
    await client.until(active(versions[1]))
    person = Coordinator(platform.address, platform.token)
    for number, seed in ((versions[0], 1), (versions[1], 2), (versions[0], 1)):
        await asyncio.to_thread(person.rollback_set, "default/back", number)
        await client.until(active(number))
        assert await client.generate((1,), 5) == (number, tiny.naive(tiny.model(seed), (1,), 5))
    person.close()
    newest = await asyncio.to_thread(writer.publish, tiny.model(3))
    await client.until(active(newest))


async def test_a_version_that_does_not_fit_changes_nothing(platform, serve, tiny):
    writer = Writer(platform, "unfit")
    good = writer.publish(tiny.model(1))
    platform.deploy("unfit", "unfit")
    client = await serve("unfit")
    await client.until(active(good))
    writer.publish(
        tiny.model(2), **{"config.json": tiny.model(1, layers=3).config.to_json().encode()}
    )
    status = await client.until(lambda status: "lacks tensor" in status.message)
    assert status.version == good
    assert await client.generate((1,), 5) == (good, tiny.naive(tiny.model(1), (1,), 5))
    better = writer.publish(tiny.model(3))
    await client.until(active(better))
    assert (await client.status()).message == ""


async def test_without_a_tokenizer_it_takes_and_gives_ids(platform, serve, tiny):
    version = Writer(platform, "bare").publish(tiny.model(1), **{"tokenizer.json": None})
    platform.deploy("bare", "bare")
    client = await serve("bare")
    await client.until(active(version))
    _, tokens = await client.generate((1, 2), 8)
    assert len(tokens) == 8
    for fields in ({"text": "a"}, {"tokens": pb.Tokens(ids=[1]), "stop": ["x"]}):
        with pytest.raises(errors.InvalidArgumentError) as refused, mapped_errors():
            call = client.inference.Generate(
                pb.GenerateRequest(model="bare", **fields), metadata=client.metadata, timeout=5
            )
            await call.read()
        assert refused.value.reason == "NO_TOKENIZER"


async def test_weights_that_changed_on_the_way_into_memory_are_noticed(platform, tiny, monkeypatch):
    version = Writer(platform, "damaged").publish(tiny.model(1))
    coordinator = Coordinator(platform.address, platform.token)
    loader = Loader(
        coordinator,
        platform.token,
        set_name="default/damaged",
        owner="test",
        device=Device.for_accelerator(""),
    )
    loader.load(version)
    honest = torch.Tensor.to

    def flips_a_bit(tensor, *args, **kwargs):
        moved = honest(tensor, *args, **kwargs)
        moved.view(torch.uint8).view(-1)[0] ^= 1
        return moved

    monkeypatch.setattr(torch.Tensor, "to", flips_a_bit)
    with pytest.raises(errors.DataLossError):
        await asyncio.to_thread(loader.load, version)


async def test_a_deployment_that_does_not_exist_is_refused(platform):
    with pytest.raises(errors.NotFoundError):
        await platform.replica("nobody")
