"""Jobs through a real controller."""

from __future__ import annotations

import threading
import time
from itertools import islice

import pytest
from attempts import Attempt

from tessera import errors
from tessera.api.controller.v1 import attempt_pb2, job_pb2
from tessera.api.controller.v1.spec_pb2 import ModelSpec, TrainSpec
from tessera.client import Client


def submitted(client, platform, spec, **fields):
    fields.setdefault("publish", {"set": f"set-{time.monotonic_ns()}"})
    job = client.jobs.create(spec(**fields))
    platform.admit(job.id)
    return job, Attempt(platform, job.id)


def progress(step, **fields):
    return job_pb2.Progress(step=step, total_steps=10, loss=3.0, **fields)


def test_create_get_list_cancel(client, spec):
    job = client.jobs.create(spec("first", labels={"team": "a"}, publish={"set": "first"}))
    assert job.state == job_pb2.JOB_STATE_QUEUED
    assert job.spec.train.steps == 1000  # Resolved by the controller.
    assert client.jobs.get(job.id).id == job.id
    assert client.jobs.get(f"jobs/{job.id}").id == job.id
    assert [found.id for found in client.jobs.list("label.team=a")] == [job.id]
    assert len(list(client.jobs.list(limit=1))) == 1
    assert client.jobs.cancel(job.id).state == job_pb2.JOB_STATE_CANCELLED
    assert client.jobs.wait(job.id).state == job_pb2.JOB_STATE_CANCELLED


def test_list_reads_every_page(client, spec, monkeypatch):
    for index in range(5):
        client.jobs.cancel(client.jobs.create(spec("paged", publish={"set": f"p{index}"})).id)
    monkeypatch.setattr("tessera.client.jobs.PAGE", 2)
    assert len(list(client.jobs.list("name=paged"))) == 5
    assert len(list(client.jobs.list("name=paged", limit=3))) == 3


def test_a_name_is_found_without_reading_all_that_bear_it(client, spec, monkeypatch):
    jobs = [client.jobs.create(spec("again", publish={"set": f"a{i}"})).id for i in range(5)]
    for job in jobs[1:-1]:
        client.jobs.cancel(job)
    read = []
    monkeypatch.setattr("tessera.client.jobs.PAGE", 2)
    call = client.jobs._connection.call

    def counted(method, request):
        reply = call(method, request)
        if isinstance(reply, job_pb2.ListJobsResponse):
            read.extend(job.id for job in reply.jobs)
        return reply

    monkeypatch.setattr(client.jobs._connection, "call", counted)
    assert client.jobs.resolve("again") == jobs[-1]
    assert read == [jobs[-1]]
    read.clear()
    assert client.jobs.unfinished("again") == (jobs[-1], jobs[0])
    assert read == [jobs[-1], jobs[0]]
    client.jobs.cancel(jobs[0])
    assert client.jobs.cancel("again").id == jobs[-1]


def test_a_version_now_is_asked_for_by_id_or_name(client, spec):
    job = client.jobs.create(spec("asked", publish={"set": "asked"}))
    for name in (job.id, f"jobs/{job.id}", "asked"):
        with pytest.raises(errors.FailedPreconditionError) as caught:
            client.jobs.checkpoint(name)
        assert (caught.value.reason, caught.value.metadata["job"]) == ("JOB_NOT_RUNNING", job.id)
    client.jobs.cancel(job.id)


def test_same_request_is_one_job(client, spec):
    first = client.jobs.create(spec("once", publish={"set": "once"}), request_id="r1")
    assert client.jobs.create(spec("once", publish={"set": "once"}), request_id="r1") == first
    with pytest.raises(errors.AlreadyExistsError) as caught:
        client.jobs.create(spec("twice", publish={"set": "twice"}), request_id="r1")
    assert caught.value.reason == "REQUEST_ID_REUSED"
    client.jobs.cancel(first.id)


def test_validate_creates_nothing(client, spec):
    before = len(list(client.jobs.list()))
    resolved = client.jobs.validate(spec("dry", train=TrainSpec(steps=7)))
    assert (resolved.train.steps, resolved.train.batch_size) == (7, 8)
    assert len(list(client.jobs.list())) == before


def test_what_is_wrong_has_a_field(client, spec):
    bad = spec()
    bad.model.CopyFrom(ModelSpec(family="gpt", heads=5, width=64))
    with pytest.raises(errors.InvalidArgumentError) as caught:
        client.jobs.create(bad)
    assert caught.value.reason == "HEADS_DO_NOT_DIVIDE_WIDTH"
    assert caught.value.violations[0].field == "model.heads"
    with pytest.raises(errors.NotFoundError) as caught:
        client.jobs.get("nope")
    assert caught.value.reason == "JOB_NOT_FOUND"


def test_watch_tells_everything_once_and_ends(client, platform, spec):
    job, attempt = submitted(client, platform, spec)
    attempt.report(progress=progress(5))
    attempt.finish(success=attempt_pb2.Success(version=3))
    updates = list(client.jobs.watch(job.id))
    events = [u.event for u in updates if u.WhichOneof("update") == "event"]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events[-1].state == job_pb2.JOB_STATE_SUCCEEDED
    assert [u.progress.step for u in updates if u.WhichOneof("update") == "progress"] == [5]
    later = list(client.jobs.watch(job.id, cursor=events[1].sequence))
    assert [u.event.sequence for u in later if u.HasField("event")] == [
        event.sequence for event in events[2:]
    ]
    assert not list(client.jobs.watch(job.id, cursor=len(events)))[:0]


def test_watch_goes_on_after_a_restart_of_the_controller(client, platform, spec):
    job, attempt = submitted(client, platform, spec)
    seen, begun = [], threading.Event()

    def watch():
        for update in client.jobs.watch(job.id):
            if update.WhichOneof("update") == "event":
                seen.append(update.event.sequence)
                begun.set()

    thread = threading.Thread(target=watch)
    thread.start()
    assert begun.wait(10)
    platform.stop_controller()
    platform.start_controller()
    attempt.report(event=job_pb2.JobEvent(type="note", message="after the restart"))
    attempt.finish(success=attempt_pb2.Success(version=1))
    thread.join(30)
    assert not thread.is_alive()
    last = client.jobs.get(job.id)
    assert last.state == job_pb2.JOB_STATE_SUCCEEDED
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) >= 4


def test_watch_can_be_left(client, platform, spec):
    job, _ = submitted(client, platform, spec)
    assert len(list(islice(client.jobs.watch(job.id), 1))) == 1
    client.jobs.cancel(job.id)


@pytest.mark.waits
def test_watch_gives_up(spec, platform):
    with Client(home=platform.home, patience=1) as client:
        job = client.jobs.create(spec("left", publish={"set": "left"}))
        watch = client.jobs.watch(job.id, patience=1)
        next(watch)
        platform.stop_controller()
        try:
            with pytest.raises(errors.UnavailableError) as caught:
                list(watch)
            assert caught.value.reason == "CONTROLLER_UNREACHABLE"
            assert platform.address in caught.value.message
        finally:
            platform.start_controller()
        client.jobs.cancel(job.id)


def test_logs(client, platform, spec):
    job, attempt = submitted(client, platform, spec)
    attempt.log("driver", "one", "two")
    attempt.log("rank-0", "hello")
    found = {part.source: list(part.lines) for part in client.jobs.logs(job.id)}
    assert found == {"driver": ["one", "two"], "rank-0": ["hello"]}
    (part,) = client.jobs.logs(job.id, source="driver", tail=1)
    assert list(part.lines) == ["two"]
    attempt.finish(success=attempt_pb2.Success(version=1))


def test_followed_logs_have_no_duplicates_after_a_restart(client, platform, spec):
    job, attempt = submitted(client, platform, spec)
    attempt.log("driver", "one", "two")
    lines, begun = [], threading.Event()

    def read():
        for part in client.jobs.logs(job.id, follow=True):
            lines.extend(part.lines)
            begun.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert begun.wait(10)
    platform.stop_controller()
    platform.start_controller()
    attempt.log("driver", "three")
    attempt.finish(success=attempt_pb2.Success(version=1))
    thread.join(60)
    assert not thread.is_alive()
    assert lines == ["one", "two", "three"]


def test_metrics(client, platform, spec):
    job, attempt = submitted(client, platform, spec)
    for step in (10, 20):
        attempt.report(metric=job_pb2.MetricPoint(step=step, values={"loss": 1 / step}))
    points = list(client.jobs.metrics(job.id))
    assert [(point.step, point.values["loss"]) for point in points] == [(10, 0.1), (20, 0.05)]
    assert [point.step for point in client.jobs.metrics(job.id, after_step=10)] == [20]
    attempt.finish(success=attempt_pb2.Success(version=1))


def test_wrong_token(platform):
    with (
        Client(platform.address, "nonsense") as client,
        pytest.raises(errors.UnauthenticatedError) as caught,
    ):
        client.jobs.get("x")
    assert caught.value.reason == "TOKEN_INVALID"


def test_no_platform(tmp_path):
    with pytest.raises(errors.FailedPreconditionError, match="tessera up") as caught:
        Client(home=tmp_path)
    assert caught.value.reason == "NO_PLATFORM"
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(errors.FailedPreconditionError):
        Client(home=tmp_path)


def test_nobody_answers():
    with (
        Client("127.0.0.1:1", "t", patience=0.3) as client,
        pytest.raises(errors.UnavailableError, match=r"no controller answers at 127\.0\.0\.1:1"),
    ):
        client.pools()
