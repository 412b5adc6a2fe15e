"""What the controller takes of one caller is bounded, and bad input is the caller's mistake."""

from __future__ import annotations

import math

import controllers
import grpc
import pytest
from google.protobuf import struct_pb2, timestamp_pb2

from tessera.api.controller.v1 import attempt_pb2, deployment_pb2, job_pb2, registry_pb2
from tessera.controller.store import attempts
from tessera.rpc.registration import build_version
from tessera.rpc.status import from_rpc_error

platform = controllers.platform

WAIT = 10
INVALID = grpc.StatusCode.INVALID_ARGUMENT


async def refused(call) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return caught.value.code(), from_rpc_error(caught.value).reason


@pytest.fixture
async def attempt(platform):
    """An attempt of a job of one worker, and what calls AttemptService as it."""
    job = await platform.submit()
    await platform.admit(job.id)
    ref = attempt_pb2.AttemptRef(job=job.id, attempt=1)
    token = platform.attempt(job.id)

    def call(method, **fields):
        stub = getattr(platform.attempts, method)
        request = getattr(attempt_pb2, f"{method}Request")(ref=ref, **fields)
        return stub(request, metadata=token, timeout=WAIT)

    return call


LINES = {"source": "driver", "first_line": 1, "lines": ["a"]}
BAD_LOGS = {
    "gap": ({"first_line": 10**11}, "GAP_TOO_LARGE"),
    "end of numbers": ({"first_line": 2**62}, "INVALID_FIELD"),
    "long number of a rank": ({"source": "rank-" + "9" * 300}, "INVALID_FIELD"),
    "rank with a zero": ({"source": "rank-00"}, "INVALID_FIELD"),
    "rank that is not there": ({"source": "rank-1"}, "UNKNOWN_SOURCE"),
    "path": ({"source": "../driver"}, "INVALID_FIELD"),
    "line end": ({"source": "driver\n"}, "INVALID_FIELD"),
    "long line": ({"lines": ["a" * 8193]}, "INVALID_FIELD"),
    "many lines": ({"lines": ["a"] * 1001}, "INVALID_FIELD"),
}


@pytest.mark.parametrize(("fields", "reason"), BAD_LOGS.values(), ids=list(BAD_LOGS))
async def test_logs_that_cannot_be(platform, attempt, fields, reason):
    assert await refused(attempt("AppendLogs", **LINES | fields)) == (INVALID, reason)
    assert not list((platform.home / "logs").rglob("*.log"))


async def test_a_gap_costs_one_line(platform, attempt):
    reply = await attempt("AppendLogs", **LINES | {"first_line": 900_000_000})
    assert reply.lines == 900_000_000
    (file,) = (platform.home / "logs").rglob("*.log")
    assert file.read_text() == "[899999999 lines lost]\na\n"


def event(**fields):
    return attempt_pb2.Report(sequence=1, event=job_pb2.JobEvent(type="note", **fields))


def metric(**fields):
    return attempt_pb2.Report(sequence=1, metric=job_pb2.MetricPoint(step=1, **fields))


BAD_REPORTS = {
    "time after the last": metric(time=timestamp_pb2.Timestamp(seconds=2**62)),
    "time before the first": metric(time=timestamp_pb2.Timestamp(seconds=-(2**62))),
    "many values": metric(values={f"v{n}": 1.0 for n in range(257)}),
    "long message": event(message="a" * 8193),
    "large details": event(details=struct_pb2.Struct(fields={"a": {"string_value": "a" * 70_000}})),
}


@pytest.mark.parametrize("report", BAD_REPORTS.values(), ids=list(BAD_REPORTS))
async def test_reports_that_cannot_be(attempt, report):
    code, reason = await refused(attempt("ReportAttempt", reports=[report]))
    assert (code, reason) in {(INVALID, "INVALID_FIELD"), (INVALID, "DETAILS_TOO_LARGE")}


async def test_numbers_that_json_does_not_have_are_null(platform, attempt):
    details = struct_pb2.Struct()
    for name, value in {"a": -math.inf, "b": math.nan, "c": 1.5}.items():
        details.fields[name].number_value = value
    details.fields["list"].list_value.values.add(number_value=math.inf)
    nothing = details.fields["nothing"]
    assert not nothing.WhichOneof("kind")
    reply = await attempt("ReportAttempt", reports=[event(message="m\0", details=details)])
    assert reply.acknowledged == 1
    job = (await attempt("GetAttempt")).spec.name
    assert job == "demo"
    listed = await platform.jobs.ListJobs(
        job_pb2.ListJobsRequest(), metadata=platform.user(), timeout=WAIT
    )
    request = job_pb2.WatchJobRequest(name=listed.jobs[0].id)
    told = {}
    async for update in platform.jobs.WatchJob(request, metadata=platform.user(), timeout=WAIT):
        if update.event.type == "note":
            told = dict(update.event.details)
            break
    assert (told["a"], told["b"], told["c"]) == (None, None, 1.5)
    assert list(told["list"]) == [None]


async def test_a_category_of_a_newer_driver_ends_the_attempt_too(platform, attempt):
    failure = job_pb2.Failure(reason="NEW", message="m")
    failure.MergeFromString(b"\x08M")
    assert failure.category == 77
    await attempt("FinishAttempt", failure=failure)
    listed = await platform.jobs.ListJobs(
        job_pb2.ListJobsRequest(), metadata=platform.user(), timeout=WAIT
    )
    failed = listed.jobs[0].attempts[0].failure
    assert (failed.category, failed.reason) == (job_pb2.FAILURE_CATEGORY_INTERNAL, "NEW")


TOKENS = ["²", "a", "99999999999999999999", "am9iczo=", "am9iczowCg==", "a" * 513, "\0"]


@pytest.mark.parametrize("token", TOKENS)
async def test_page_tokens_that_no_list_made(platform, token):
    user = platform.user()
    jobs = platform.jobs.ListJobs(job_pb2.ListJobsRequest(page_token=token), metadata=user)
    assert (await refused(jobs))[0] is INVALID
    request = deployment_pb2.ListDeploymentsRequest(page_token=token)
    deployments = platform.deployments.ListDeployments(request, metadata=user)
    assert (await refused(deployments))[0] is INVALID


@pytest.mark.parametrize("name", ["../x", "a" * 64, "é", "a\0", "jobs/", "jobs/a/b", "a\n", ""])
async def test_names_that_are_no_names(platform, name):
    user = platform.user()
    for method in ("GetJob", "CancelJob"):
        request = getattr(job_pb2, f"{method}Request")(name=name)
        call = getattr(platform.jobs, method)(request, metadata=user, timeout=WAIT)
        assert await refused(call) == (INVALID, "INVALID_FIELD")


async def test_the_history_of_a_job_has_an_end(platform, attempt, monkeypatch):
    monkeypatch.setattr(attempts, "MAX_EVENTS", 10)
    for first in (1, 5, 9, 13):
        notes = [
            attempt_pb2.Report(sequence=first + n, event=job_pb2.JobEvent(type="note", message="m"))
            for n in range(4)
        ]
        assert (await attempt("ReportAttempt", reports=notes)).acknowledged == first + 3
    await attempt("FinishAttempt", success=attempt_pb2.Success(version=1))
    listed = await platform.jobs.ListJobs(
        job_pb2.ListJobsRequest(), metadata=platform.user(), timeout=WAIT
    )
    request = job_pb2.WatchJobRequest(name=listed.jobs[0].id)
    watched = platform.jobs.WatchJob(request, metadata=platform.user(), timeout=WAIT)
    messages = [update.event.message async for update in watched if update.HasField("event")]
    assert 10 < len(messages) < 16
    assert sum("later notes" in message for message in messages) == 1


async def test_values_of_a_step_and_labels_of_an_endpoint_do_not_add_up(platform, attempt):
    for part in range(3):
        values = {f"{part}-{n}": 1.0 for n in range(200)}
        report = attempt_pb2.Report(
            sequence=part + 1, metric=job_pb2.MetricPoint(step=1, values=values)
        )
        await attempt("ReportAttempt", reports=[report])
    job = (await platform.jobs.ListJobs(job_pb2.ListJobsRequest(), metadata=platform.user())).jobs[
        0
    ]
    request = job_pb2.StreamMetricsRequest(name=job.id)
    stream = platform.jobs.StreamMetrics(request, metadata=platform.user(), timeout=WAIT)
    (point,) = [point async for reply in stream for point in reply.points]
    assert len(point.values) == 256
    assert point.values["0-0"] == 1.0
    shard = registry_pb2.Endpoint(
        role=registry_pb2.ROLE_SHARD,
        name="shard-0",
        incarnation="i",
        control_address="h:1",
        build=build_version(),
        labels={"state": "a"},
    )
    register = registry_pb2.RegisterRequest(endpoint=shard)
    await platform.registry.Register(register, metadata=platform.shard(), timeout=WAIT)
    for part in range(3):
        labels = {f"{part}-{n}": "x" for n in range(30)} | {"state": f"{part}"}
        beat = registry_pb2.HeartbeatRequest(
            role=registry_pb2.ROLE_SHARD, name="shard-0", incarnation="i", labels=labels
        )
        await platform.registry.Heartbeat(beat, metadata=platform.shard(), timeout=WAIT)
    resolve = registry_pb2.ResolveRequest(role=registry_pb2.ROLE_SHARD)
    reply = await platform.registry.Resolve(resolve, metadata=platform.shard(), timeout=WAIT)
    (found,) = reply.endpoints
    assert len(found.labels) == 32
    assert found.labels["state"] == "2"
