"""The whole driver on a real cluster, under a real controller, with a real parameter service."""

from __future__ import annotations

import hashlib
import io
import time
import zipfile

import pytest
import ray.exceptions
from google.protobuf import json_format

from tessera.api.controller.v1 import (
    job_pb2,
    job_pb2_grpc,
    pool_pb2,
    pool_pb2_grpc,
)
from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.rpc.channel import bearer, channel
from tessera.trainer.launch import gang_failure

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

SECONDS = 400
"""A busy machine starts a gang slowly; an idle one takes about fifteen seconds."""

OVER = {
    job_pb2.JOB_STATE_SUCCEEDED,
    job_pb2.JOB_STATE_FAILED,
    job_pb2.JOB_STATE_CANCELLED,
}


def test_a_gang_that_was_not_started_is_told_by_its_cause():
    cause = RuntimeError("Unable to find address for: one\n  at device.cc:83")
    task = ray.exceptions.RayTaskError(
        "execute", "\x1b[36mray::execute\x1b[39m\n ^^^^", cause, proctitle="x", pid=1, ip="::1"
    )
    wanted = "the workers could not be started: RuntimeError: Unable to find address for: one"
    for error in (task, task.as_instanceof_cause()):
        assert gang_failure(error).message == wanted
    slow = gang_failure(TimeoutError("no room for 2 workers\nafter 30 s"))
    assert slow.message == "the workers could not be started: no room for 2 workers\nafter 30 s"


class User:
    """What a user of the controller does."""

    def __init__(self, platform) -> None:
        self.channel = channel(platform.address)
        self.token = bearer(platform.token)
        self.jobs = job_pb2_grpc.JobServiceStub(self.channel)

    def submit(self, spec: dict) -> str:
        request = job_pb2.CreateJobRequest(spec=json_format.ParseDict(spec, JobSpec()))
        return self.jobs.CreateJob(request, metadata=self.token, timeout=20).job.id

    def upload(self, content: bytes, name: str) -> str:
        digest = hashlib.sha256(content).hexdigest()
        stub = pool_pb2_grpc.BlobServiceStub(self.channel)
        parts = iter([pool_pb2.PutBlobRequest(digest=digest, data=content)])
        stub.PutBlob(parts, metadata=self.token, timeout=20)
        return f"blob://{digest}/{name}"

    def get(self, job: str) -> job_pb2.Job:
        request = job_pb2.GetJobRequest(name=job)
        return self.jobs.GetJob(request, metadata=self.token, timeout=20).job

    def until(self, job: str, wanted, seconds: float = SECONDS) -> job_pb2.Job:
        end = time.monotonic() + seconds
        while not wanted(found := self.get(job)):
            assert time.monotonic() < end, found
            assert found.state not in OVER, found
            time.sleep(0.3)
        return found

    def finished(self, job: str) -> job_pb2.Job:
        end = time.monotonic() + SECONDS
        while (found := self.get(job)).state not in OVER:
            assert time.monotonic() < end, found
            time.sleep(0.3)
        return found

    def events(self, job: str) -> list[job_pb2.JobEvent]:
        request = job_pb2.WatchJobRequest(name=job)
        call = self.jobs.WatchJob(request, metadata=self.token, timeout=60)
        return [update.event for update in call if update.WhichOneof("update") == "event"]

    def logs(self, job: str) -> dict[str, list[str]]:
        call = self.jobs.StreamLogs(
            job_pb2.StreamLogsRequest(name=job), metadata=self.token, timeout=60
        )
        found: dict[str, list[str]] = {}
        for part in call:
            found.setdefault(part.source, []).extend(part.lines)
        return found

    def where(self, job: str) -> job_pb2.JobRun:
        request = job_pb2.GetJobRunRequest(name=job)
        return self.jobs.GetJobRun(request, metadata=self.token, timeout=20).run


def small(ranks, texts, **changes):
    told = ranks.spec(texts, resources={"workers": 2, "cpus_per_worker": 1}, **changes)
    told["data"]["files"] = [f"file://{texts}/*.py"]
    return told


def test_a_job_is_steered_and_stopped(ray_platform, texts, ranks):
    user = User(ray_platform)
    told = small(ranks, texts, name="steered", train={"steps": 100_000}, publish={"every": 0})
    job = user.submit(told)
    user.until(job, lambda found: found.progress.step > 3)
    # The driver hears of steps by a way of its own, a little later.
    end = time.monotonic() + SECONDS
    while (status := user.where(job)).step <= 3:
        assert time.monotonic() < end, status
        time.sleep(0.3)
    assert (status.job, status.total_steps) == (job, 100_000)
    assert len({address.rpartition(":")[2] for address in status.ranks}) == 2
    asked = job_pb2.CheckpointJobRequest(name=job)
    taken = user.jobs.CheckpointJob(asked, metadata=user.token, timeout=20)
    assert (taken.attempt, taken.version) == (1, 0)
    assert taken.step > 3
    user.until(job, lambda found: found.progress.version == 1)
    user.jobs.CancelJob(job_pb2.CancelJobRequest(name=job), metadata=user.token, timeout=20)
    ended = user.finished(job)
    assert ended.state == job_pb2.JOB_STATE_CANCELLED, ended
    versions = [event for event in user.events(job) if event.type == "version"]
    assert [int(event.details["version"]) for event in versions] == [1, 2]


CODE = """
import time

class Own:
    def __init__(self, rank):
        self.rank, self.calls = rank, 0
    def loss(self, model, batch):
        loss = model(batch.inputs).logits.sum() * 1e-3
        print("rank", self.rank, "was here")
        self.calls += 1
        # After a whole step: by then the other rank has been here too, and its lines are sent.
        if self.rank == 1 and self.calls > 1:
            time.sleep(3)
            raise ValueError("a mistake of mine")
        return loss

def make(context):
    return Own(context.rank)
"""


def test_the_guilty_rank_of_a_job_is_named(ray_platform, texts, ranks):
    user = User(ray_platform)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("guilty_code.py", CODE)
    told = small(ranks, texts, name="guilty")
    code = user.upload(packed.getvalue(), "guilty_code.zip")
    job = user.submit({**told, "entrypoint": "guilty_code:make", "code": code})
    ended = user.finished(job)
    assert ended.state == job_pb2.JOB_STATE_FAILED, ended
    assert ended.failure.category == job_pb2.FAILURE_CATEGORY_USER
    assert (ended.failure.reason, ended.failure.rank) == ("ENTRYPOINT_FAILED", 1)
    assert "a mistake of mine" in ended.failure.traceback
    assert len(ended.attempts) == 1
    logs = user.logs(job)
    assert "rank 1 was here" in logs["rank-1"]
    assert "rank 0 was here" in logs["rank-0"]
