"""A real controller, parameter service and replica inside the test's process, and their client.

A small GPT with random weights is committed as `default/tiny`, version 1, and served as `tiny`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tessera.api.controller.v1 import attempt_pb2 as pb
from tessera.api.controller.v1 import registry_pb2
from tessera.api.controller.v1.attempt_pb2_grpc import AttemptServiceStub
from tessera.api.controller.v1.deployment_pb2 import DeploymentSpec
from tessera.api.controller.v1.spec_pb2 import DataSpec, JobSpec, ModelSpec
from tessera.api.trainer.v1 import trainer_pb2
from tessera.api.trainer.v1.trainer_pb2_grpc import add_TrainerServiceServicer_to_server
from tessera.client import Client
from tessera.controller.app import Controller
from tessera.controller.config import Config
from tessera.controller.store import attempts as store_attempts
from tessera.controller.store import placement
from tessera.inference.config import ReplicaConfig
from tessera.inference.meter import NoMeter
from tessera.inference.replica import start_replica
from tessera.models.inputs import Inputs, Outputs
from tessera.models.registry import FAMILIES, build
from tessera.parameters.local import start_parameters
from tessera.rpc.channel import bearer, channel
from tessera.rpc.identity import ATTEMPT, SERVICE, Principal
from tessera.rpc.registration import Registration, fetch_verifier
from tessera.rpc.server import Server
from tessera.text import special
from tessera.text.training import train
from tessera.trainer.control.service import TrainerService
from tessera.weights.coordinator import Coordinator
from tessera.weights.manifest import TensorSpec
from tessera.weights.push import LocalSlice, push

TRAINER = trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"].full_name
STARS = ("bad", "fair", "good")
TAGS = ("other", "name")
TEXT = "def add(a, b):\n    return a + b\n\n\nclass Größe:\n    '''Maß → 尺寸 🙂'''\n" * 4


class Platform:
    """Everything on a loop of its own; the controller can be stopped and started again."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._port = 0
        self.controller = None
        self.start_controller()
        self.address = self.controller.address
        self.token = self.issue(subject="ada")
        (home / "token").write_text(self.token)
        (home / "state.json").write_text(json.dumps({"controller": self.address}))

    def run(self, work, seconds=60):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def start_controller(self) -> None:
        async def start():
            config = Config(host="127.0.0.1", port=self._port, home=self.home, shards=0)
            self.controller = Controller(config, run_loops=False)
            self._port = await self.controller.start()

        self.run(start())

    def stop_controller(self) -> None:
        self.run(self.controller.stop(0))

    def issue(self, **fields) -> str:
        return self.controller.runtime.issuer.issue(Principal(**fields))

    def admit(self, job: str) -> None:
        """What the scheduler does, without a pool."""
        database = self.controller.runtime.database
        self.run(database.write(placement.admit, job, "local"))

    def release(self, job: str) -> None:
        """What the controller does once the attempt's Ray job is gone."""
        database = self.controller.runtime.database
        self.run(database.write(store_attempts.release, job, 1))

    def attempt(self, job: str) -> Attempt:
        return Attempt(self, job)

    def close(self) -> None:
        self.stop_controller()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


class Attempt:
    """What a driver says about attempt 1 of a job."""

    def __init__(self, platform: Platform, job: str) -> None:
        token = platform.issue(subject=f"attempt:{job}/1", role=ATTEMPT, job=job, attempt=1)
        self._token = token
        self._metadata = bearer(token)
        self._channel = channel(platform.address)
        self._stub = AttemptServiceStub(self._channel)
        self._platform = platform
        self._ref = pb.AttemptRef(job=job, attempt=1)
        self._sequence = 0
        self._lines = {}

    def _call(self, method, request):
        return method(request, metadata=self._metadata, timeout=10, wait_for_ready=True)

    def report(self, **content) -> None:
        self._sequence += 1
        report = pb.Report(sequence=self._sequence, **content)
        request = pb.ReportAttemptRequest(ref=self._ref, reports=[report])
        self._call(self._stub.ReportAttempt, request)

    def log(self, source: str, *lines: str) -> None:
        first = self._lines.get(source, 0) + 1
        request = pb.AppendLogsRequest(ref=self._ref, source=source, first_line=first, lines=lines)
        self._lines[source] = self._call(self._stub.AppendLogs, request).lines

    def finish(self, **outcome) -> None:
        request = pb.FinishAttemptRequest(ref=self._ref, **outcome)
        self._call(self._stub.FinishAttempt, request)
        self._platform.release(self._ref.job)

    @contextlib.contextmanager
    def driver(self, record):
        """Its driver, which steers nothing but tells what is in the record."""
        verifier = fetch_verifier(self._platform.address)

        def register(server):
            add_TrainerServiceServicer_to_server(TrainerService(record), server)

        async def start():
            server = Server(verifier, [(TRAINER, register)])
            endpoint = registry_pb2.Endpoint(
                role=registry_pb2.ROLE_TRAINER,
                name=self._ref.job,
                incarnation="1",
                control_address=f"127.0.0.1:{await server.start()}",
            )
            registration = Registration(self._platform.address, self._token, endpoint)
            await registration.start()
            return server, registration

        server, registration = self._platform.run(start())
        try:
            yield
        finally:
            self._platform.run(registration.stop())
            self._platform.run(server.drain(grace=1.0))


def job_spec(name="demo", **fields) -> JobSpec:
    files = fields.pop("files", ["stdlib://**/*.py"])
    return JobSpec(name=name, model=ModelSpec(family="gpt"), data=DataSpec(files=files), **fields)


class Published:
    """A small model with random weights, its tokenizer, and how its versions are committed."""

    def __init__(self, platform, name, family, tokenizer, *, context=64, **task) -> None:
        self.platform = platform
        self.name = name
        self.tokenizer = tokenizer
        sizes = {"context": context, "layers": 2, "heads": 4, "width": 32}
        mask = tokenizer.mask_id
        self.config = FAMILIES[family].config(
            sizes,
            FAMILIES[family].task(**task),
            vocab_size=tokenizer.vocab_size,
            start_id=tokenizer.start_id,
            end_id=tokenizer.end_id,
            pad_id=tokenizer.pad_id,
            mask_id=-1 if mask is None else mask,
        )
        torch.manual_seed(1)
        self.module = build(self.config).eval()
        with torch.no_grad():
            for parameter in self.module.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.3)

    @torch.inference_mode()
    def outputs(self, ids, **inputs) -> Outputs:
        """What the model says of one sequence."""
        others = {name: torch.tensor([value]) for name, value in inputs.items()}
        return self.module(Inputs(torch.tensor([ids]), **others))

    def logits(self, ids, **inputs) -> torch.Tensor:
        return self.outputs(ids, **inputs).logits[0]

    def publish(self, step=7) -> int:
        token = self.platform.issue(subject="attempt:j1/1", role=ATTEMPT, job="j1", attempt=1)
        coordinator = Coordinator(self.platform.address, token)
        arrays = {n: p.detach().numpy() for n, p in self.module.named_parameters()}
        tensors = [
            TensorSpec(group="model", name=n, shape=a.shape, dtype="F32") for n, a in arrays.items()
        ]
        assets = {
            "config.json": self.config.to_json().encode(),
            "tokenizer.json": self.tokenizer.to_json(),
        }
        grant = coordinator.acquire_writer(f"default/{self.name}", "j1", 1)
        opened = coordinator.open_version(
            f"default/{self.name}", grant.epoch, step, tensors, assets, {"loss": "2"}
        )
        slices = [
            LocalSlice(
                tensor=i,
                group="model",
                box=tensors[i].box,
                data=np.ascontiguousarray(array).view(np.uint8).reshape(-1),
            )
            for i, array in enumerate(arrays.values())
        ]
        push(opened, 0, slices, token)
        coordinator.seal_version(opened)
        version = coordinator.commit_version(opened)
        coordinator.close()
        return version.number

    def serve(self, client):
        """Deploy version 1, and answer with a replica in this process."""
        spec = DeploymentSpec(name=self.name, model=f"{self.name}@1")
        client.deployments.create(spec)
        return self.platform.run(self.replica(0))

    def replica(self, index):
        """Starts one replica of the deployment."""
        token = self.platform.issue(subject="service:inference", role=SERVICE)
        config = ReplicaConfig(
            controller=self.platform.address, token=token, deployment=self.name, index=index
        )
        return start_replica(config, NoMeter())


@pytest.fixture(scope="session")
def platform(tmp_path_factory) -> Iterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("home"))
    yield platform
    platform.close()


@pytest.fixture(scope="session")
def parameters(platform, tmp_path_factory) -> Iterator[None]:
    """The parameter service."""
    service = platform.issue(subject="service:parameters", role=SERVICE)
    running = start_parameters(platform.address, service, tmp_path_factory.mktemp("parameters"))
    yield
    running.stop()


@pytest.fixture(scope="session")
def tiny(platform, parameters) -> Published:
    """One committed version of a GPT."""
    tokenizer = train("byte_bpe", iter([TEXT]), 320, special.GPT)
    tiny = Published(platform, "tiny", "gpt", tokenizer)
    tiny.publish()
    return tiny


@pytest.fixture(scope="session")
def served(platform, tiny) -> Iterator[Published]:
    """With a replica that serves it, at version 1."""
    with Client(home=platform.home) as client:
        replica = tiny.serve(client)
        client.deployments.wait("tiny", 30)
    yield tiny
    platform.run(replica.stop(1))


@pytest.fixture(scope="session")
def zoo(platform, served) -> Iterator[dict[str, Published]]:
    """A served model of each kind, by name."""
    bert = train("wordpiece", iter([TEXT]), 200, special.BERT)
    seq2seq = train("byte_bpe", iter([TEXT]), 300, special.SEQ2SEQ)
    made = [
        Published(platform, "translator", "transformer", seq2seq, kind="translation"),
        Published(platform, "hybrid", "bert_gpt", bert, kind="joint"),
        Published(platform, "words", "bert", bert, kind="masked_language_modeling"),
        Published(platform, "stars", "bert", bert, kind="classification", labels=STARS),
        Published(platform, "names", "bert", bert, kind="token_classification", labels=TAGS),
        Published(platform, "reader", "bert", bert, kind="question_answering"),
        Published(platform, "meaning", "bert", bert, kind="sentence_embedding"),
    ]
    with Client(home=platform.home) as client:
        for model in made:
            model.publish()
        replicas = [model.serve(client) for model in made]
        for model in made:
            client.deployments.wait(model.name, 30)
    yield {model.name: model for model in [*made, served]}
    for replica in replicas:
        platform.run(replica.stop(1))


@pytest.fixture
def client(platform) -> Iterator[Client]:
    with Client(home=platform.home, patience=2) as client:
        yield client


@pytest.fixture
def spec():
    """Makes short valid specs."""
    return job_spec


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory):
    """A small GPT-2 as `save_pretrained` writes it, in bfloat16, without a tokenizer."""
    import transformers as hf  # noqa: PLC0415 - slow to load, and only for imports

    folder = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(1)
    config = hf.GPT2Config(
        vocab_size=20, n_embd=8, n_layer=2, n_head=2, n_positions=16, bos_token_id=1, eos_token_id=2
    )
    hf.GPT2LMHeadModel(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.fixture
def copy(gpt2, tmp_path):
    """A copy of the GPT-2 to break."""
    return Path(shutil.copytree(gpt2, tmp_path / "copy"))
