"""A whole platform for a test: started, asked, wounded and ended as its user would."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import grpc
import psutil
from google.protobuf import json_format

from tessera.api.controller.v1 import deployment_pb2 as deployment_pb
from tessera.api.controller.v1 import deployment_pb2_grpc as deployment_grpc
from tessera.api.controller.v1 import job_pb2 as job_pb
from tessera.api.controller.v1 import job_pb2_grpc as job_grpc
from tessera.api.controller.v1 import registry_pb2 as registry_pb
from tessera.api.controller.v1 import registry_pb2_grpc as registry_grpc
from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.client import Client
from tessera.local import readiness
from tessera.local.home import Home
from tessera.local.process import members
from tessera.local.state import State
from tessera.rpc.channel import bearer, channel
from tessera.rpc.token import Token, tls_of
from tessera.weights.coordinator import Coordinator

T = TypeVar("T")

TESSERA = Path(sys.executable).with_name("tessera")
ENDED = (job_pb.JOB_STATE_SUCCEEDED, job_pb.JOB_STATE_FAILED, job_pb.JOB_STATE_CANCELLED)
TRANSIENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class Platform:
    """One platform in a home of its own.

    Args:
        folder: which the home is in.
        shell: what `tessera` commands run in, as `subprocess.run` takes it.
    """

    def __init__(self, folder: Path, **shell: Any) -> None:
        self.folder = folder
        self.home = Home(folder / "home")
        self.shell = shell
        self._tokens: dict[tuple[str, str], Token] = {}

    # --- life ---

    def run(
        self, *arguments: str, check: bool = True, **kwargs: Any
    ) -> subprocess.CompletedProcess[str]:
        """A `tessera` command."""
        done = subprocess.run(
            [str(TESSERA), "--home", str(self.home.path), *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
            **{**self.shell, **kwargs},
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def up(self, *arguments: str) -> None:
        self.run("up", *arguments)

    def down(self, *arguments: str) -> None:
        state = self.state if self.home.state_path.exists() else None
        self.run("down", *arguments)
        if state is not None:
            left = members(state.platform, state.leaders)
            assert left == [], f"left behind: {left}"

    @property
    def state(self) -> State:
        found = State.load(self.home.state_path)
        assert found is not None
        return found

    @property
    def token(self) -> Token:
        """Of its user, with which its connections are encrypted where the platform's are."""
        state = self.state
        if (key := (state.controller, state.ca)) not in self._tokens:
            self._tokens[key] = readiness.shown(self.home, state)
        return self._tokens[key]

    # --- calls ---

    @contextmanager
    def stub(
        self, kind: Callable[[grpc.Channel], T], address: str = "", name: str = ""
    ) -> Iterator[T]:
        """A stub of whoever proves to have that name there; without one it is the controller."""
        tls = tls_of(self.token)
        with channel(address or self.state.controller, tls, name) as connection:
            yield kind(connection)

    def call(
        self, kind: Callable[[grpc.Channel], Any], method: str, request: Any, address: str = ""
    ) -> Any:
        """One unary call with the user's token."""
        with self.stub(kind, address) as stub:
            return getattr(stub, method)(
                request, metadata=bearer(self.token), timeout=30, wait_for_ready=True
            )

    def endpoints(self, role: int, name: str = "") -> list[registry_pb.Endpoint]:
        """Live endpoints of a role."""
        request = registry_pb.ResolveRequest(role=role, name=name)
        reply = self.call(registry_grpc.RegistryServiceStub, "Resolve", request)
        return [endpoint for endpoint in reply.endpoints if endpoint.live]

    def coordinator(self) -> Coordinator:
        return Coordinator(self.state.controller, self.token)

    # --- jobs ---

    def submit(self, spec: Mapping[str, Any]) -> str:
        """Submit a spec in its JSON form; returns the job's id."""
        with Client(home=self.home.path) as client:
            return client.jobs.create(json_format.ParseDict(spec, JobSpec())).id

    def job(self, job: str) -> job_pb.Job:
        return self.call(job_grpc.JobServiceStub, "GetJob", job_pb.GetJobRequest(name=job)).job

    def cancel(self, job: str) -> None:
        self.call(job_grpc.JobServiceStub, "CancelJob", job_pb.CancelJobRequest(name=job))

    def finish(self, job: str, seconds: float = 180) -> job_pb.Job:
        """Wait until a job has ended."""
        return until(
            lambda: found if (found := self.job(job)).state in ENDED else None,
            seconds,
            lambda: self.describe(job),
        )

    def succeed(self, job: str, seconds: float = 180) -> job_pb.Job:
        found = self.finish(job, seconds)
        assert found.state == job_pb.JOB_STATE_SUCCEEDED, self.describe(job)
        return found

    def fail(self, job: str, seconds: float = 180) -> job_pb.Failure:
        found = self.finish(job, seconds)
        assert found.state == job_pb.JOB_STATE_FAILED, self.describe(job)
        return found.failure

    def describe(self, job: str) -> str:
        found = self.job(job)
        events = "\n".join(f"{e.sequence} {e.type} {e.message}" for e in self.events(job))
        return f"{json_format.MessageToJson(found)}\n{events}\n{self.logs(job)}"

    def events(self, job: str) -> list[job_pb.JobEvent]:
        """The job's history until now."""
        found = []
        with self.stub(job_grpc.JobServiceStub) as stub:
            request = job_pb.WatchJobRequest(name=job)
            watch = stub.WatchJob(
                request, metadata=bearer(self.token), timeout=1.5, wait_for_ready=True
            )
            try:
                for update in watch:
                    if update.WhichOneof("update") == "event":
                        found.append(update.event)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise
        return found

    def metrics(self, job: str) -> list[job_pb.MetricPoint]:
        with self.stub(job_grpc.JobServiceStub) as stub:
            request = job_pb.StreamMetricsRequest(name=job)
            stream = stub.StreamMetrics(request, metadata=bearer(self.token), timeout=30)
            return [point for reply in stream for point in reply.points]

    def losses(self, job: str) -> dict[int, float]:
        """Loss by step; of several attempts the last word counts."""
        points = sorted(self.metrics(job), key=lambda point: (point.attempt, point.step))
        return {p.step: p.values["loss"] for p in points if "loss" in p.values}

    def logs(self, job: str) -> str:
        with self.stub(job_grpc.JobServiceStub) as stub:
            request = job_pb.StreamLogsRequest(name=job, tail=60)
            stream = stub.StreamLogs(request, metadata=bearer(self.token), timeout=30)
            return "\n".join(f"[{r.source}] {line}" for r in stream for line in r.lines)

    # --- the run ---

    def trainer(self, job: str) -> str:
        """Control address of a job's driver, once it is there."""
        return until(
            lambda: self.endpoints(registry_pb.ROLE_TRAINER, job), 90, lambda: self.describe(job)
        )[0].control_address

    def progress(self, job: str) -> job_pb.JobRun | None:
        """Where the run is; None while there is no driver that answers."""
        try:
            with self.stub(job_grpc.JobServiceStub) as stub:
                request = job_pb.GetJobRunRequest(name=job)
                return stub.GetJobRun(request, metadata=bearer(self.token), timeout=3).run
        except grpc.RpcError:
            return None

    def reach(self, job: str, step: int, version: int = 0, seconds: float = 120) -> job_pb.JobRun:
        """Wait until the run is at a step and has committed a version."""

        def there() -> job_pb.JobRun | None:
            assert self.job(job).state not in ENDED, self.describe(job)
            status = self.progress(job)
            good = status is not None and status.step >= step and status.version >= version
            return status if good and status.ranks else None

        return until(there, seconds, lambda: self.describe(job), pause=0.05)

    # --- deployments ---

    def deploy(self, name: str, model: str, seconds: float = 120) -> deployment_pb.Deployment:
        spec = deployment_pb.DeploymentSpec(name=name, model=model)
        request = deployment_pb.CreateDeploymentRequest(spec=spec)
        self.call(deployment_grpc.DeploymentServiceStub, "CreateDeployment", request)
        return self.ready(name, seconds)

    def deployment(self, name: str) -> deployment_pb.Deployment:
        request = deployment_pb.GetDeploymentRequest(name=name)
        return self.call(deployment_grpc.DeploymentServiceStub, "GetDeployment", request).deployment

    def ready(self, name: str, seconds: float = 120) -> deployment_pb.Deployment:
        def there() -> deployment_pb.Deployment | None:
            found = self.deployment(name)
            return found if found.state == deployment_pb.DEPLOYMENT_STATE_READY else None

        return until(there, seconds, lambda: str(self.deployment(name)))


@contextmanager
def running(folder: Path, *options: str, **shell: Any) -> Iterator[Platform]:
    """A platform that is up, with more options if need be, and down again afterwards."""
    made = Platform(folder, **shell)
    try:
        # Logical: deployments of many tests stand beside one another.
        made.up("--cpus", "16", *options)
        yield made
    finally:
        made.down()


def until(
    look: Callable[[], T | None],
    seconds: float,
    explain: Callable[[], str] = str,
    pause: float = 0.2,
) -> T:
    """What `look` finds, as soon as it is something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := look():
                return found
        except grpc.RpcError as error:
            if error.code() not in TRANSIENT:
                raise
        time.sleep(pause)
    raise AssertionError(f"not within {seconds} s:\n{explain()}")


def pid_of(endpoint: registry_pb.Endpoint) -> int:
    return int(endpoint.labels["pid"])


def pids_of(ranks: Sequence[str]) -> list[int]:
    """Numbers of the processes `host:pid`."""
    return [int(rank.rpartition(":")[2]) for rank in ranks]


def command_line(process: psutil.Process) -> str:
    """What it was started with; nothing of one that has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def kill(pid: int) -> None:
    """SIGKILL, and wait until it is gone."""
    process = psutil.Process(pid)
    process.kill()
    deadline = time.monotonic() + 10
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def corpus(folder: Path, files: int = 12) -> list[str]:
    """URLs of a few real source files, always the same ones."""
    chosen = sorted(Path(os.__file__).parent.glob("*.py"))[:files]
    folder.mkdir(parents=True, exist_ok=True)
    for path in chosen:
        (folder / path.name).write_bytes(path.read_bytes()[:20_000])
    return [f"file://{folder}/*.py"]


def tiny(
    name: str, files: Sequence[str], *, steps: int = 30, every: int = 10, **more: Any
) -> dict[str, Any]:
    """A spec that trains in seconds, every step reported, with dropout on."""
    spec: dict[str, Any] = {
        "name": name,
        "retries": 3,
        "resources": {"workers": 2, "cpus_per_worker": 1},
        "model": {
            "family": "gpt",
            "layers": 2,
            "heads": 2,
            "width": 32,
            "context": 32,
            "dropout": 0.1,
        },
        "tokenizer": {"vocab_size": 320},
        "data": {"files": list(files), "held_out": 0.2},
        "train": {
            "steps": steps,
            "batch_size": 4,
            "lr": 3e-3,
            "eval_every": 10,
            "eval_batches": 2,
            "log_every": 1,
            "seed": 7,
        },
        "publish": {"every": every, "keep": 3},
    }
    for key, value in more.items():
        spec[key] = {**spec[key], **value} if isinstance(spec.get(key), dict) else value
    return spec
