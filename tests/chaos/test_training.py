"""SIGKILL inside a run: it resumes from the last version, and the loss curve does not tell."""

from __future__ import annotations

import pytest
from google.protobuf import json_format
from platforms import Platform, kill, pid_of, pids_of

from tessera.api.controller.v1 import job_pb2 as job_pb
from tessera.api.controller.v1 import registry_pb2 as registry_pb

pytestmark = [pytest.mark.ray, pytest.mark.chaos, pytest.mark.timeout(600)]

EVERY = 50


def worker(platform: Platform, job: str, ranks: list[str]) -> int:
    return pids_of(ranks)[1]


def driver(platform: Platform, job: str, ranks: list[str]) -> int:
    return pid_of(platform.endpoints(registry_pb.ROLE_TRAINER, job)[0])


@pytest.mark.parametrize("victim", [worker, driver])
def test_the_run_resumes_bit_for_bit(platform, spec, undisturbed, victim):
    name = f"kill-{victim.__name__}"
    job = platform.submit(spec(name))
    status = platform.reach(job, step=120, version=1)
    kill(victim(platform, job, list(status.ranks)))
    found = platform.succeed(job, seconds=240)
    assert len(found.attempts) == 2, platform.describe(job)
    assert found.attempts[0].failure.category == job_pb.FAILURE_CATEGORY_WORKER_LOST
    check_resume(platform, job, f"default/{name}")
    assert platform.losses(job) == undisturbed


def check_resume(platform: Platform, job: str, name: str) -> None:
    """It went on from the newest version, lost at most EVERY steps, and held what was committed."""
    events = platform.events(job)
    [resume] = [event for event in events if event.type == "resume"]
    details = json_format.MessageToDict(resume.details)
    committed = [e for e in events if e.type == "version" and e.sequence < resume.sequence]
    assert int(details["version"]) == max(int(e.details["version"]) for e in committed)
    first = [p.step for p in platform.metrics(job) if p.attempt == 1 and "loss" in p.values]
    assert 0 <= max(first) - int(details["step"]) <= EVERY
    told = {
        (d["tensor"], tuple(map(int, d["offsets"])), tuple(map(int, d["extents"]))): int(
            d["checksum"], 16
        )
        for d in details["digests"]
    }
    coordinator = platform.coordinator()
    manifest = coordinator.get_manifest(name, int(details["version"]), ("optimizer",))
    coordinator.close()
    kept = {
        (manifest.tensors[s.tensor].name, s.box.offsets, s.box.extents): s.checksum
        for s in manifest.slices
        if manifest.tensors[s.tensor].group == "optimizer"
    }
    assert told == kept
