"""SIGKILL of the standing services in the middle of a run: it goes on, and nothing is lost."""

from __future__ import annotations

import threading

import grpc
import numpy as np
import pytest
import xxhash
from platforms import Platform, kill, pid_of, until

from tessera.api.controller.v1 import job_pb2 as job_pb
from tessera.api.controller.v1 import job_pb2_grpc as job_grpc
from tessera.api.controller.v1 import registry_pb2 as registry_pb
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.api.inference.v1 import inference_pb2_grpc as pb_grpc
from tessera.rpc.channel import bearer
from tessera.rpc.tls.names import replica_name
from tessera.weights.box import Box
from tessera.weights.pull import Want, pull

pytestmark = [pytest.mark.ray, pytest.mark.chaos, pytest.mark.timeout(600)]


class Watcher(threading.Thread):
    """Watches a job from its cursor on, again and again, as a client that loses its connection."""

    def __init__(self, platform: Platform, job: str) -> None:
        super().__init__(daemon=True)
        self.platform, self.job = platform, job
        self.events: list[job_pb.JobEvent] = []
        self.broken = 0
        self.start()

    def run(self) -> None:
        while not self.events or self.events[-1].state not in {5, 6, 7}:
            try:
                self._watch()
            except grpc.RpcError:
                self.broken += 1

    def _watch(self) -> None:
        cursor = self.events[-1].sequence if self.events else 0
        with self.platform.stub(job_grpc.JobServiceStub) as stub:
            request = job_pb.WatchJobRequest(name=self.job, cursor=cursor)
            for update in stub.WatchJob(
                request, metadata=bearer(self.platform.token), wait_for_ready=True
            ):
                if update.WhichOneof("update") == "event":
                    self.events.append(update.event)


def contents(platform: Platform, name: str, version: int) -> dict[str, int]:
    """A hash of every tensor of a version, as a reader gets it; the pull checks the slices."""
    coordinator = platform.coordinator()
    manifest = coordinator.get_manifest(f"default/{name}", version)
    outs = {(t.group, t.name): np.empty(t.size, np.uint8) for t in manifest.tensors}
    wants = [
        Want(group=t.group, name=t.name, box=Box.whole(t.shape), out=outs[t.group, t.name])
        for t in manifest.tensors
    ]
    pull(manifest, wants, platform.token)
    coordinator.close()
    return {"/".join(key): xxhash.xxh3_64_intdigest(out) for key, out in outs.items()}


def check_undisturbed(platform: Platform, job: str, losses: dict[int, float]) -> None:
    """The run ended well in its first attempt, and every loss is bit for bit what it should be."""
    found = platform.succeed(job)
    assert len(found.attempts) == 1, platform.describe(job)
    assert platform.losses(job) == losses
    states = [e.state for e in platform.events(job) if e.type == "state"]
    assert states.count(job_pb.JOB_STATE_SUCCEEDED) == 1


def test_controller(platform, spec, undisturbed):
    job = platform.submit(spec("controller"))
    watcher = Watcher(platform, job)
    platform.reach(job, step=60, version=1)
    before = platform.state.processes["controller"]
    kill(before.pid)
    until(lambda: platform.state.processes["controller"] != before, 30)
    check_undisturbed(platform, job, undisturbed)
    watcher.join(30)
    assert not watcher.is_alive()
    assert watcher.broken >= 1
    sequences = [event.sequence for event in watcher.events]
    assert sequences == list(range(1, len(sequences) + 1))
    assert watcher.events == platform.events(job)


@pytest.mark.parametrize(
    ("role", "name"),
    [(registry_pb.ROLE_SHARD, "shard-0"), (registry_pb.ROLE_COORDINATOR, "coordinator")],
)
def test_parameter_service(platform, spec, undisturbed, role, name):
    job = platform.submit(spec(f"kill-{name}"))
    version = platform.reach(job, step=60, version=1).version
    before = contents(platform, f"kill-{name}", version)
    [victim] = platform.endpoints(role, name)
    kill(pid_of(victim))
    until(lambda: back(platform, role, name, victim.incarnation), 60)
    assert contents(platform, f"kill-{name}", version) == before
    check_undisturbed(platform, job, undisturbed)
    coordinator = platform.coordinator()
    steps = [v.step for v in coordinator.list_versions(f"default/kill-{name}")]
    assert steps[0] == 300
    coordinator.close()


def test_replica(platform, spec, undisturbed):
    platform.succeed(platform.submit(spec("kill-replica", train={"steps": 60})))
    deployment = platform.deploy("kill-replica", "kill-replica")
    [victim] = platform.endpoints(registry_pb.ROLE_REPLICA, "kill-replica/0")
    before = answer(platform, victim.control_address)
    kill(pid_of(victim))
    found = until(
        lambda: back(platform, registry_pb.ROLE_REPLICA, "kill-replica/0", victim.incarnation), 90
    )
    until(lambda: found.labels["state"] == "active" or fresh(platform, found), 60)
    assert platform.ready("kill-replica").version == deployment.version
    assert answer(platform, found.control_address) == before


def fresh(platform: Platform, endpoint: registry_pb.Endpoint) -> bool:
    found = platform.endpoints(registry_pb.ROLE_REPLICA, endpoint.name)
    return bool(found) and found[0].labels["state"] == "active"


def back(platform: Platform, role: int, name: str, incarnation: str) -> registry_pb.Endpoint | None:
    """The endpoint in its next life."""
    found = platform.endpoints(role, name)
    return found[0] if found and found[0].incarnation != incarnation else None


def answer(platform: Platform, address: str) -> tuple[int, list[int]]:
    """Version and tokens of a seeded answer."""
    request = pb.GenerateRequest(
        model="kill-replica", text="import ", max_tokens=16, sampling=pb.Sampling(seed=5)
    )

    def ask() -> list[pb.GenerateResponse]:
        name = replica_name("default", "kill-replica")
        with platform.stub(pb_grpc.InferenceServiceStub, address, name) as stub:
            return list(stub.Generate(request, metadata=bearer(platform.token), timeout=60))

    parts = until(ask, 60)
    return parts[0].version, [token for part in parts for token in part.tokens]
