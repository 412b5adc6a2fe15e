"""The services for attempts, endpoints, uploads and tokens over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib

import postgres_server
import pytest
from controllers import Running
from ray_dashboard import STRANGE, Dashboard

from tessera import errors
from tessera.api.controller.v1 import (
    attempt_pb2,
    job_pb2,
    pool_pb2,
    pool_pb2_grpc,
    registry_pb2,
)
from tessera.controller.policy.records import Pool
from tessera.controller.store import tickets
from tessera.rpc.channel import channel, mapped_errors
from tessera.rpc.identity import Verifier
from tessera.rpc.principal import Principal, Role
from tessera.rpc.registration import Registration, exchange_tickets, fetch_verifier

TIMEOUT = 10


postgres = postgres_server.postgres


@pytest.fixture(params=["sqlite", "postgresql"])
async def platform(request, tmp_path):
    url = ""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").migrated()
    running = await Running(home=tmp_path, database=url).open()
    yield running
    await running.close()


@pytest.fixture
async def job(platform):
    """A job whose first attempt was admitted."""
    found = (await platform.submit()).id
    await platform.admit(found)
    return found


def ref(job, number=1):
    return attempt_pb2.AttemptRef(job=job, attempt=number)


async def refused(call, request, metadata, kind):
    with pytest.raises(kind) as caught, mapped_errors():
        await call(request, metadata=metadata, timeout=TIMEOUT)
    return caught.value


async def test_an_attempt_reads_its_spec_and_nobody_elses(platform, job):
    request = attempt_pb2.GetAttemptRequest(ref=ref(job))
    reply = await platform.attempts.GetAttempt(
        request, metadata=platform.attempt(job), timeout=TIMEOUT
    )
    assert reply.spec.publish.set == "demo"
    assert (reply.tenant, reply.owner) == ("default", "ada")
    for stranger in (
        platform.user(),
        platform.shard(),
        platform.attempt(job, 2),
        platform.attempt("job-x"),
    ):
        error = await refused(
            platform.attempts.GetAttempt, request, stranger, errors.PermissionDeniedError
        )
        assert error.reason in {"ROLE_DENIED", "OTHER_ATTEMPT"}


async def test_cancellation_reaches_the_next_report(platform, job):
    request = attempt_pb2.ReportAttemptRequest(ref=ref(job))
    metadata = platform.attempt(job)
    reply = await platform.attempts.ReportAttempt(request, metadata=metadata, timeout=TIMEOUT)
    assert not reply.cancelled
    assert (await platform.get(job)).state == job_pb2.JOB_STATE_RUNNING
    await platform.jobs.CancelJob(
        job_pb2.CancelJobRequest(name=job), metadata=platform.user(), timeout=TIMEOUT
    )
    reply = await platform.attempts.ReportAttempt(request, metadata=metadata, timeout=TIMEOUT)
    assert reply.cancelled
    await platform.attempts.FinishAttempt(
        attempt_pb2.FinishAttemptRequest(ref=ref(job), stopped=attempt_pb2.Stopped(version=2)),
        metadata=metadata,
        timeout=TIMEOUT,
    )
    assert (await platform.get(job)).state == job_pb2.JOB_STATE_CANCELLED


async def test_a_users_mistake_ends_the_job_with_its_rank(platform, job):
    failure = job_pb2.Failure(
        category=job_pb2.FAILURE_CATEGORY_USER,
        reason="DATA_EMPTY",
        message="no text",
        rank=1,
        traceback="Traceback",
    )
    await platform.attempts.FinishAttempt(
        attempt_pb2.FinishAttemptRequest(ref=ref(job), failure=failure),
        metadata=platform.attempt(job),
        timeout=TIMEOUT,
    )
    found = await platform.get(job)
    assert found.state == job_pb2.JOB_STATE_FAILED
    assert found.failure == found.attempts[0].failure == failure


async def test_an_outcome_must_be_set(platform, job):
    request = attempt_pb2.FinishAttemptRequest(ref=ref(job))
    await refused(
        platform.attempts.FinishAttempt,
        request,
        platform.attempt(job),
        errors.InvalidArgumentError,
    )


async def lines_of(platform, job, **fields):
    request = job_pb2.StreamLogsRequest(name=job, **fields)
    call = platform.jobs.StreamLogs(request, metadata=platform.user(), timeout=TIMEOUT)
    return [(part.source, line) async for part in call for line in part.lines]


async def append(platform, job, source, first, *lines):
    request = attempt_pb2.AppendLogsRequest(
        ref=ref(job), source=source, first_line=first, lines=lines
    )
    reply = await platform.attempts.AppendLogs(
        request, metadata=platform.attempt(job), timeout=TIMEOUT
    )
    return reply.lines


@pytest.mark.waits
async def test_logs_are_followed_to_the_end(platform, job):
    assert await append(platform, job, "driver", 1, "a", "b") == 2
    assert await append(platform, job, "driver", 2, "b", "c") == 3
    assert await append(platform, job, "rank-0", 1, "x") == 1
    expected = [("driver", "a"), ("driver", "b"), ("driver", "c"), ("rank-0", "x")]
    assert await lines_of(platform, job) == expected
    assert await lines_of(platform, job, source="driver", tail=1) == [("driver", "c")]
    following = asyncio.create_task(lines_of(platform, job, follow=True))
    await asyncio.sleep(0.2)
    await append(platform, job, "rank-0", 2, "y")
    await platform.attempts.FinishAttempt(
        attempt_pb2.FinishAttemptRequest(ref=ref(job), success=attempt_pb2.Success(version=1)),
        metadata=platform.attempt(job),
        timeout=TIMEOUT,
    )
    await platform.release(job)
    assert await following == [*expected, ("rank-0", "y")]
    error = None
    try:
        with mapped_errors():
            await lines_of(platform, job, attempt=4)
    except errors.NotFoundError as caught:
        error = caught
    assert error.reason == "ATTEMPT_NOT_FOUND"


async def test_metrics_are_followed_and_survive_a_restart(platform, job):
    async def points(**fields):
        request = job_pb2.StreamMetricsRequest(name=job, **fields)
        call = platform.jobs.StreamMetrics(request, metadata=platform.user(), timeout=TIMEOUT)
        return [(p.attempt, p.step) async for part in call for p in part.points]

    async def report(*steps):
        reports = [
            attempt_pb2.Report(
                sequence=step,
                metric=job_pb2.MetricPoint(step=step, values={"loss": 1.0, "bad": float("nan")}),
            )
            for step in steps
        ]
        await platform.attempts.ReportAttempt(
            attempt_pb2.ReportAttemptRequest(ref=ref(job), reports=reports),
            metadata=platform.attempt(job),
            timeout=TIMEOUT,
        )

    await report(1, 2)
    following = asyncio.create_task(points(follow=True))
    await asyncio.sleep(0.2)
    await report(2, 3)
    await platform.attempts.FinishAttempt(
        attempt_pb2.FinishAttemptRequest(ref=ref(job), success=attempt_pb2.Success()),
        metadata=platform.attempt(job),
        timeout=TIMEOUT,
    )
    assert await following == [(1, 1), (1, 2), (1, 3)]
    await platform.reopen()
    assert await points(after_step=2) == [(1, 3)]


async def test_blobs_come_back_and_liars_are_refused(platform):
    data = bytes(range(256)) * 9000
    digest = hashlib.sha256(data).hexdigest()

    def parts(first):
        yield pool_pb2.PutBlobRequest(digest=first)
        for at in range(0, len(data), 1 << 20):
            yield pool_pb2.PutBlobRequest(data=data[at : at + (1 << 20)])

    metadata = platform.user()
    await refused(
        platform.blobs.StatBlob,
        pool_pb2.StatBlobRequest(digest=digest),
        metadata,
        errors.NotFoundError,
    )
    for _ in range(2):
        reply = await platform.blobs.PutBlob(parts(digest), metadata=metadata, timeout=TIMEOUT)
        assert reply.size == len(data)
    await platform.reopen()
    call = platform.blobs.GetBlob(
        pool_pb2.GetBlobRequest(digest=digest), metadata=metadata, timeout=TIMEOUT
    )
    assert b"".join([part.data async for part in call]) == data
    # An asyncio client that still writes when it is refused may hear of the broken pipe alone.
    with channel(platform.controller.address) as connection:
        put = pool_pb2_grpc.BlobServiceStub(connection).PutBlob
        for named, kind in (
            ("0" * 64, errors.DataLossError),
            ("../x", errors.InvalidArgumentError),
        ):
            with pytest.raises(kind), mapped_errors():
                await asyncio.to_thread(put, parts(named), metadata=metadata, timeout=TIMEOUT)


async def test_tickets_become_tokens_once_and_keys_are_public(platform):
    principal = Principal(subject="replica:t/m", role=Role.REPLICA, tenant="t", deployment="m")
    ticket = await platform.runtime.database.write(tickets.issue, principal)
    [token] = await asyncio.to_thread(exchange_tickets, platform.controller.address, ticket)
    verifier = await asyncio.to_thread(fetch_verifier, platform.controller.address)
    assert isinstance(verifier, Verifier)
    assert verifier.verify(token.token) == principal
    with pytest.raises(errors.UnauthenticatedError):
        await asyncio.to_thread(exchange_tickets, platform.controller.address, ticket)


async def test_without_a_token_nothing_else_answers(platform):
    for call, request in [
        (platform.jobs.ListJobs, job_pb2.ListJobsRequest()),
        (platform.pools.ListPools, pool_pb2.ListPoolsRequest()),
        (platform.registry.Resolve, registry_pb2.ResolveRequest(role=1)),
    ]:
        await refused(call, request, (), errors.UnauthenticatedError)


async def test_an_endpoint_survives_the_controllers_restart(platform):
    endpoint = registry_pb2.Endpoint(
        role=registry_pb2.ROLE_SHARD, name="shard-0", incarnation="i", control_address="h:1"
    )
    token = platform.shard()[0][1].removeprefix("Bearer ")
    registration = Registration(platform.controller.address, token, endpoint)
    await registration.start()
    registration.set_labels({"state": "active"})
    await asyncio.sleep(0.2)
    request = registry_pb2.ResolveRequest(role=registry_pb2.ROLE_SHARD)
    reply = await platform.registry.Resolve(request, metadata=platform.user(), timeout=TIMEOUT)
    assert reply.endpoints[0].labels["state"] == "active"
    assert reply.endpoints[0].live
    await registration.stop()
    reply = await platform.registry.Resolve(request, metadata=platform.user(), timeout=TIMEOUT)
    assert not reply.endpoints
    error = await refused(
        platform.registry.Resolve,
        registry_pb2.ResolveRequest(),
        platform.user(),
        errors.InvalidArgumentError,
    )
    assert error.reason == "UNKNOWN_ROLE"


@pytest.mark.waits
async def test_a_pool_that_is_no_ray_cluster_is_listed_with_its_trouble(platform):
    dashboard = Dashboard(strange=True)
    pool = pool_pb2.Pool(name="odd", dashboard_url=dashboard.address, ray_address="127.0.0.1:8")
    request = pool_pb2.RegisterPoolRequest(pool=pool)
    known = Pool(name="odd", dashboard_url=dashboard.address, ray_address="127.0.0.1:8")
    for _ in STRANGE:
        reply = await platform.pools.RegisterPool(
            request, metadata=platform.user(), timeout=TIMEOUT
        )
        assert not reply.pool.live
        assert reply.pool.message
        with contextlib.suppress(errors.UnavailableError):  # Nothing else may come out.
            await platform.runtime.launcher.status(known, "a")
        with contextlib.suppress(errors.UnavailableError):
            await platform.runtime.launcher.log(known, "a")
    dashboard.shutdown()


async def test_a_pool_that_is_deleted_while_it_is_registered(platform, monkeypatch):
    async def meanwhile(_):
        platform.runtime.pools.remove("gone")

    monkeypatch.setattr(platform.runtime.pools, "refresh", meanwhile)
    pool = pool_pb2.Pool(name="gone", dashboard_url="http://127.0.0.1:9", ray_address="h:8")
    error = await refused(
        platform.pools.RegisterPool,
        pool_pb2.RegisterPoolRequest(pool=pool),
        platform.user(),
        errors.AbortedError,
    )
    assert error.reason == "POOL_DELETED"


async def test_a_pool_that_does_not_answer_is_listed_with_its_trouble(platform):
    pool = pool_pb2.Pool(
        name="far",
        dashboard_url="http://127.0.0.1:9",
        ray_address="127.0.0.1:8",
        foreign={"CPU": 2.0},
    )
    request = pool_pb2.RegisterPoolRequest(pool=pool)
    await platform.pools.RegisterPool(request, metadata=platform.user(), timeout=TIMEOUT)
    await platform.reopen()
    reply = await platform.pools.ListPools(
        pool_pb2.ListPoolsRequest(), metadata=platform.user(), timeout=TIMEOUT
    )
    assert [p.name for p in reply.pools] == ["far"]
    assert not reply.pools[0].live
    assert "does not answer" in reply.pools[0].message
    assert reply.pools[0].foreign == {"CPU": 2.0}
