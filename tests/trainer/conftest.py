"""A gang of real processes, and a real controller with a real parameter service for them."""

from __future__ import annotations

import json
import socket
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import versions
from in_process import InProcessPlatform

from tessera import errors
from tessera.controller.policy.records import Pool
from tessera.device import Device
from tessera.models.registry import build, load_config
from tessera.trainer.control.commands import CommandQueue
from tessera.trainer.control.in_memory_reporter import InMemoryReporter
from tessera.trainer.ranks import Ranks
from tessera.trainer.spec import settings_of_json
from tessera.trainer.versions.starting_point import ParameterStore
from tessera.weights.coordinator import Coordinator

WORDS = (
    "import", "os", "sys", "json", "def", "return", "class", "self", "value",
    "for", "in", "if", "not", "None", "print", "yield",
)  # fmt: skip


def corpus(folder: Path, files: int = 6) -> Path:
    """Small Python-like files, always the same."""
    folder.mkdir(exist_ok=True)
    for index in range(files):
        words = [WORDS[(7 * index + 3 * i + i * i // 5) % len(WORDS)] for i in range(900)]
        lines = [" ".join(words[at : at + 6]) for at in range(0, len(words), 6)]
        (folder / f"file{index}.py").write_text("\n".join(lines) + "\n")
    return folder


def spec(folder: Path, **changes):
    """A small job; `changes` are sections that are merged in."""
    base = {
        "name": "small",
        "model": {
            "family": "gpt",
            "layers": 2,
            "heads": 2,
            "width": 32,
            "context": 32,
            "dropout": 0.1,
        },
        "tokenizer": {"vocab_size": 300},
        "data": {"files": [f"{folder}/*.py"]},
        "resources": {"workers": 2},
        "train": {
            "steps": 12,
            "batch_size": 8,
            "log_every": 1,
            "eval_every": 6,
            "eval_batches": 2,
            "warmup_steps": 3,
            "seed": 3,
        },
        "publish": {"every": 4},
    }
    for section, values in changes.items():
        base[section] = {**base.get(section, {}), **values} if isinstance(values, dict) else values
    return base


@dataclass
class Result:
    """What the ranks of a gang left: None for one that was killed."""

    ranks: list[dict | None]
    output: str = ""

    @property
    def lead(self) -> dict:
        assert self.ranks[0] is not None, self.output
        return self.ranks[0]

    @property
    def losses(self) -> dict[int, float]:
        return {step: values["loss"] for step, values in self.lead["metrics"] if "loss" in values}

    def events(self, kind: str) -> list[dict]:
        return [details for found, _, details in self.lead["events"] if found == kind]


def run_gang(told: dict, out: Path, world_size: int | None = None) -> Result:
    """Run the loop in `world_size` processes and wait for them."""
    import rank_process  # noqa: PLC0415 - FSDP is slow to load

    size = world_size or told["spec"]["resources"]["workers"]
    told = {"store": None, "kill": None, **told, "out": str(out)}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    gang = {
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    log = out.with_suffix(".log")
    processes = [
        rank_process.start(told, log, {**gang, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(size)
    ]
    try:
        for process in processes:
            process.join(timeout=120)
            assert process.exitcode is not None, log.read_text()
    finally:
        for process in processes:
            process.kill()
    paths = [out.with_suffix(f".{rank}") for rank in range(size)]
    found = [json.loads(path.read_text()) if path.exists() else None for path in paths]
    codes = [process.exitcode for process in processes]
    errors = [rank and (rank.get("message"), rank.get("traceback")) for rank in found]
    return Result(ranks=found, output=f"{log.read_text()}\nexit codes {codes}, errors {errors}")


@pytest.fixture(scope="session")
def platform(tmp_path_factory):
    with InProcessPlatform(tmp_path_factory.mktemp("platform")) as running:
        running.start_parameters()
        yield running


@pytest.fixture(scope="session")
def texts(tmp_path_factory):
    return corpus(tmp_path_factory.mktemp("texts"))


@pytest.fixture
def ray_platform(ray_cluster, tmp_path):
    """The same, placing jobs on the session's Ray cluster."""
    pool = Pool(
        name="local", dashboard_url=ray_cluster.dashboard_url, ray_address=ray_cluster.address
    )
    settings = {"pools": (pool,), "ray_token": ray_cluster.token_path}
    with InProcessPlatform(tmp_path, **settings) as running:
        running.start_parameters()
        yield running


class RankProcesses:
    """What tests run gangs with."""

    spec = staticmethod(spec)
    run = staticmethod(run_gang)


@dataclass
class Alone:
    """Runs jobs of one rank in this process: they need not wait for torch to be imported."""

    platform: InProcessPlatform

    def run(self, spec: dict, attempt: int = 1) -> Result:
        """Run a spec whose name is that of the job and of its set."""
        from tessera.trainer.rank import no_blobs  # noqa: PLC0415 - FSDP is slow to load
        from tessera.trainer.run import Run  # noqa: PLC0415

        told, reporter = self.platform.store(spec["name"], attempt, spec=spec), InMemoryReporter()
        run = Run(
            settings=settings_of_json(json.dumps(spec)),
            ranks=Ranks(rank=0, world_size=1, local_rank=0),
            device=Device.for_accelerator(""),
            reporter=reporter,
            commands=CommandQueue(),
            store=ParameterStore(
                coordinator=Coordinator(told["controller"], told["token"]),
                token=told["token"],
                tenant="default",
                job=told["job"],
                attempt=attempt,
            ),
            read_blob=no_blobs,
        )
        found = {"metrics": reporter.metrics, "events": reporter.events}
        try:
            outcome = run.execute()
            found.update(finished=outcome.finished, version=outcome.version)
        except errors.TesseraError as error:
            found.update(reason=error.reason, message=error.message)
        found["progress"] = asdict(reporter.latest)
        return Result(ranks=[found])

    def version(self, name: str, number: int = 0):
        """The manifest of a version, its config, and its weights by name."""
        token = self.platform.token
        coordinator = Coordinator(self.platform.address, token)
        manifest, found = versions.read(coordinator, token, name, version=number)
        config = load_config(manifest.assets["config.json"])
        weights = {
            n: torch.from_numpy(found[n]).view(torch.float32).reshape(spec.shape)
            for n, spec in manifest.group("model").items()
        }
        return manifest, config, weights

    def commit(self, name: str, weights: dict, assets: dict) -> None:
        """Commit weights in bfloat16, as an import does."""
        arrays = {n: weight.bfloat16().view(torch.int16).numpy() for n, weight in weights.items()}
        writer = versions.Writer(self.platform, name, job=f"import-{name}", ranks=1)
        writer.commit(versions.content(arrays, dtype="BF16"), assets, step=0)

    def model(self, name: str, number: int = 0):
        """The model of a version, with its weights."""
        _, config, weights = self.version(name, number)
        module = build(config).eval()
        named = dict(module.named_parameters())
        assert named.keys() == weights.keys()
        with torch.no_grad():
            for weight, parameter in named.items():
                parameter.copy_(weights[weight])
        return module


@pytest.fixture(scope="module")
def alone(platform, tmp_path_factory):
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.mktemp("tmp"))
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield Alone(platform)
    dist.destroy_process_group()
    tempfile.tempdir = before


@pytest.fixture(scope="session")
def ranks():
    import rank_process  # noqa: PLC0415 - FSDP is slow to load

    yield RankProcesses()
    rank_process.stop()
