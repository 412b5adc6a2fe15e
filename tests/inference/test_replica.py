"""A whole replica beside a real controller and a real parameter service; only Ray is missing."""

from __future__ import annotations

import asyncio
import random
import threading
import time

import numpy as np
import pytest
import torch
import xxhash
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tessera import errors
from tessera.api.controller.v1 import deployment_pb2, registry_pb2
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.api.inference.v1 import inference_pb2_grpc as pb_grpc
from tessera.controller import convert
from tessera.controller.app import Controller
from tessera.controller.config import Config
from tessera.controller.records import Deployment
from tessera.controller.services.deployments import resolve as resolve_deployment
from tessera.controller.store import deployments
from tessera.device import Device
from tessera.inference.config import ReplicaConfig
from tessera.inference.meter import NoMeter
from tessera.inference.replica import start_replica
from tessera.inference.weights import Loader
from tessera.parameters.local import start_parameters
from tessera.rpc.channel import aio_channel, bearer, mapped_errors
from tessera.rpc.identity import ATTEMPT, SERVICE, Principal
from tessera.rpc.registration import resolve
from tessera.weights.box import Box
from tessera.weights.coordinator import Coordinator
from tessera.weights.manifest import TensorSpec
from tessera.weights.push import LocalSlice, push


class Platform:
    """A controller and a parameter service on loops of their own."""

    def __init__(self, home):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.controller = self.run(self._make(home / "controller"))
        self.run(self.controller.start())
        self.address = self.controller.address
        self.token = self.issue(subject="service:inference", role=SERVICE)
        service = self.issue(subject="service:parameters", role=SERVICE)
        self.parameters = start_parameters(self.address, service, home)

    async def _make(self, home):
        return Controller(Config(host="127.0.0.1", port=0, home=home, shards=0), run_loops=False)

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def issue(self, **fields):
        return self.controller.runtime.issuer.issue(Principal(**fields))

    def deploy(self, name, model, **engine):
        spec = resolve_deployment(
            deployment_pb2.DeploymentSpec(
                name=name, model=model, engine=deployment_pb2.EngineSpec(**engine)
            )
        )
        row = Deployment(
            tenant="default",
            name=name,
            owner="ada",
            spec=convert.to_json(spec),
            demand=convert.deployment_demand(spec),
            generation="",
        )
        self.run(self.controller.runtime.database.write(deployments.create, row))

    def stop(self):
        self.parameters.stop()
        self.run(self.controller.stop(0))
        self.loop.call_soon_threadsafe(self.loop.stop)


class Writer:
    """A job that commits models, in slices of two ranks."""

    def __init__(self, platform, name):
        self.set = f"default/{name}"
        job = f"job-{name}"
        self.token = platform.issue(subject=f"attempt:{job}/1", role=ATTEMPT, job=job, attempt=1)
        self.client = Coordinator(platform.address, self.token)
        self.epoch = self.client.acquire_writer(self.set, job, 1).epoch

    def publish(self, loaded, **assets):
        """Commit a model with some optimizer state beside it; returns the version's number."""
        tensors = {n: p.detach().numpy() for n, p in loaded.module.named_parameters()}
        specs = [
            TensorSpec(group="model", name=n, shape=t.shape, dtype="F32")
            for n, t in tensors.items()
        ]
        first = next(iter(tensors))
        specs.append(
            TensorSpec(
                group="optimizer",
                name=f"exp_avg/{first}",
                shape=tensors[first].shape,
                dtype="F32",
            )
        )
        content = {
            "config.json": loaded.config.to_json().encode(),
            "tokenizer.json": loaded.tokenizer.to_json(),
            **assets,
        }
        content = {name: value for name, value in content.items() if value is not None}
        opened = self.client.open_version(self.set, self.epoch, 1, specs, content)
        arrays = [*tensors.values(), tensors[first]]
        for rank in range(2):
            push(opened, rank, list(self._slices(specs, arrays, rank)), self.token)
        self.client.seal_version(opened)
        return self.client.commit_version(opened).number

    def _slices(self, specs, arrays, rank):
        for index, (spec, array) in enumerate(zip(specs, arrays, strict=True)):
            half = spec.shape[0] // 2
            low, high = ((0, half), (half, spec.shape[0]))[rank]
            rest = spec.shape[1:]
            yield LocalSlice(
                tensor=index,
                group=spec.group,
                box=Box((low, *[0] * len(rest)), (high - low, *rest)),
                data=np.frombuffer(np.ascontiguousarray(array[low:high]).tobytes(), np.uint8),
            )


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    platform = Platform(tmp_path_factory.mktemp("platform"))
    yield platform
    platform.stop()


class Client:
    """Calls one replica."""

    def __init__(self, platform, replica, model):
        self.replica, self.model = replica, model
        self.channel = aio_channel(replica.address)
        self.inference = pb_grpc.InferenceServiceStub(self.channel)
        self.steering = pb_grpc.ReplicaServiceStub(self.channel)
        self.metadata = bearer(platform.issue(subject="ada"))

    async def generate(self, prompt, count):
        """(version, tokens) of a greedy answer."""
        request = pb.GenerateRequest(
            model=self.model,
            tokens=pb.Tokens(ids=prompt),
            max_tokens=count,
            sampling=pb.Sampling(temperature=0),
        )
        with mapped_errors():
            call = self.inference.Generate(request, metadata=self.metadata, timeout=30)
            parts = [part async for part in call]
        (version,) = {part.version for part in parts}
        return version, [token for part in parts for token in part.tokens]

    async def status(self):
        return await self.steering.GetReplicaStatus(
            pb.GetReplicaStatusRequest(), metadata=self.metadata, timeout=10
        )

    async def until(self, condition, seconds=20):
        end = time.monotonic() + seconds
        while not condition(status := await self.status()):
            assert time.monotonic() < end, status
            await asyncio.sleep(0.02)
        return status

    async def health(self):
        stub = health_pb2_grpc.HealthStub(self.channel)
        reply = await stub.Check(
            health_pb2.HealthCheckRequest(service="tessera.api.inference.v1.InferenceService"),
            timeout=5,
        )
        return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)


@pytest.fixture
async def serve(platform):
    """Starts replicas of deployments."""
    clients = []

    async def start(name):
        config = ReplicaConfig(
            controller=platform.address, token=platform.token, deployment=name, index=0
        )
        replica = await start_replica(config, NoMeter())
        clients.append(Client(platform, replica, name))
        return clients[-1]

    yield start
    for client in clients:
        await client.channel.close()
        await client.replica.stop(0.1)


def active(version):
    return lambda status: status.state == pb.REPLICA_STATE_ACTIVE and status.version == version


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
    assert endpoint.control_address == client.replica.address
    assert endpoint.labels["state"] == "active"
    assert endpoint.labels["version"] == str(version)
    assert endpoint.labels["deployment"] == "labelled"


async def test_under_load_every_answer_is_of_the_version_that_it_names(platform, serve, tiny):
    writer = Writer(platform, "hot")
    models = {writer.publish(tiny.model(1)): tiny.model(1)}
    platform.deploy("hot", "hot", max_batch=6)
    client = await serve("hot")
    await client.until(active(min(models)))
    ended, answers = asyncio.Event(), []

    async def user(number):
        chance = random.Random(number)
        while not ended.is_set():
            prompt = tuple(chance.choices(range(1, 200), k=chance.randint(1, 20)))
            count = chance.randint(5, 40)
            answers.append((prompt, count, *await client.generate(prompt, count)))

    users = [asyncio.create_task(user(number)) for number in range(6)]
    for seed in range(2, 6):
        model = tiny.model(seed)
        version = await asyncio.to_thread(writer.publish, model)
        models[version] = model
        await client.until(active(version))
        await asyncio.sleep(0.1)
    ended.set()
    await asyncio.gather(*users)
    for prompt, count, version, tokens in answers:
        assert tokens == tiny.naive(models[version], prompt, count)
    assert {version for _, _, version, _ in answers} == set(models)
    status = await client.until(lambda status: not status.running)
    assert status.free_blocks == status.total_blocks
    assert client.replica.state.engine.wait(5, versions=1)


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
    config = ReplicaConfig(
        controller=platform.address, token=platform.token, deployment="nobody", index=0
    )
    with pytest.raises(errors.NotFoundError):
        await start_replica(config, NoMeter())
