"""The other services over a real socket; parameters are the real coordinator and shards."""

from __future__ import annotations

import asyncio
import hashlib

import numpy as np
import pytest
from controllers import spec

from tessera import errors
from tessera.api.controller.v1 import (
    attempt_pb2,
    deployment_pb2,
    job_pb2,
    pool_pb2,
    pool_pb2_grpc,
    registry_pb2,
)
from tessera.api.controller.v1.spec_pb2 import InitSpec, ModelSpec, TrainSpec
from tessera.controller.store import tickets
from tessera.models.registry import FAMILIES
from tessera.parameters.local import start_parameters
from tessera.rpc.channel import channel, mapped_errors
from tessera.rpc.identity import Verifier
from tessera.rpc.principal import Principal, Role
from tessera.rpc.registration import Registration, exchange_tickets, fetch_verifier
from tessera.weights.box import Box
from tessera.weights.coordinator import Coordinator
from tessera.weights.manifest import TensorSpec
from tessera.weights.push import LocalSlice, push

TIMEOUT = 10


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


@pytest.fixture
def parameters(platform, tmp_path):
    """Real parameter servers, with one committed version of `default/weights`."""
    issue = platform.runtime.issuer.issue
    nodes = [
        issue(Principal(subject=role.value, role=role)) for role in (Role.COORDINATOR, Role.SHARD)
    ]
    return tmp_path / "parameters", nodes, issue(Principal(subject="ada", role=Role.SUBMITTER))


async def commit(platform, folder, nodes, token):
    """Start the servers and commit one version; returns what must be stopped."""
    address = platform.controller.address

    def work():
        servers = start_parameters(address, nodes, folder, shards=1)
        coordinator = Coordinator(address, token)
        grant = coordinator.acquire_writer("default/weights", "job-x", 1)
        tensors = [TensorSpec(group="model", name="w", shape=(4,), dtype="F32")]
        config = FAMILIES["gpt"].config({"width": 128, "heads": 2}, vocab_size=9).to_json()
        assets = {"config.json": config.encode()}
        opened = coordinator.open_version("default/weights", grant.epoch, 1, tensors, assets, {})
        data = np.arange(4, dtype=np.float32).view(np.uint8)
        box = Box(offsets=(0,), extents=(4,))
        push(opened, 0, [LocalSlice(tensor=0, group="model", box=box, data=data)], token)
        coordinator.seal_version(opened)
        return servers, coordinator.commit_version(opened).number

    return await asyncio.to_thread(work)


async def test_sets_and_versions_must_exist(platform, parameters):
    servers, version = await commit(platform, *parameters)
    try:

        async def deploy(name, model, metadata=None, **fields):
            wanted = deployment_pb2.DeploymentSpec(name=name, model=model, **fields)
            request = deployment_pb2.CreateDeploymentRequest(spec=wanted)
            with mapped_errors():
                reply = await platform.deployments.CreateDeployment(
                    request, metadata=metadata or platform.user(), timeout=TIMEOUT
                )
            return reply.deployment

        made = await deploy("m", f"weights@{version}")
        assert made.name == "deployments/default/m"
        assert made.state == deployment_pb2.DEPLOYMENT_STATE_PENDING
        assert (made.spec.replicas, made.spec.engine.max_batch) == (1, 16)
        assert await deploy("m", f"weights@{version}") == made
        for model, reason in [
            ("weights@99", "VERSION_NOT_FOUND"),
            ("nothing", "SET_NOT_FOUND"),
        ]:
            with pytest.raises(errors.NotFoundError) as caught:
                await deploy("n", model)
            assert caught.value.reason == reason
            assert [v.field for v in caught.value.violations] == ["spec.model"]
            for part in ("from", "encoder", "decoder"):
                init = ModelSpec(family="bert_gpt", init=InitSpec(**{part: model}))
                with pytest.raises(errors.NotFoundError) as caught, mapped_errors():
                    await platform.jobs.CreateJob(
                        job_pb2.CreateJobRequest(spec=spec(model=init)),
                        metadata=platform.user(),
                        timeout=TIMEOUT,
                    )
                assert caught.value.reason == reason
                assert [v.field for v in caught.value.violations] == [f"spec.model.init.{part}"]
        await rates(platform, f"weights@{version}")
        with pytest.raises(errors.AlreadyExistsError) as caught:
            await deploy("m", "weights", replicas=2)
        assert caught.value.reason == "DEPLOYMENT_EXISTS"
        with pytest.raises(errors.NotFoundError):
            await deploy("m", "weights", metadata=platform.user(tenant="other"))
        await lifecycle(platform)
    finally:
        await asyncio.to_thread(servers.stop)


async def rates(platform, model):
    """A run that starts from a version learns as fast as suits its width."""
    init = ModelSpec(family="gpt", init=InitSpec(**{"from": model}))
    for told, rate in ((TrainSpec(), 1e-3), (TrainSpec(lr=0.5), 0.5)):
        request = job_pb2.CreateJobRequest(spec=spec(model=init, train=told), validate_only=True)
        reply = await platform.jobs.CreateJob(request, metadata=platform.user(), timeout=TIMEOUT)
        train = reply.job.spec.train
        assert (train.lr, train.min_lr, train.epochs) == (rate, 0, 3)
        assert not train.HasField("steps")


async def lifecycle(platform):
    """A deployment is read by its replicas, listed, and gone when it is deleted."""
    stub = platform.deployments
    get = deployment_pb2.GetDeploymentRequest(name="m")
    replica = Principal(subject="r", role=Role.REPLICA, deployment="m", reads=("default/weights",))
    reply = await stub.GetDeployment(get, metadata=platform.token(replica), timeout=TIMEOUT)
    assert reply.deployment.spec.model.startswith("weights@")
    listed = await stub.ListDeployments(
        deployment_pb2.ListDeploymentsRequest(), metadata=platform.user(), timeout=TIMEOUT
    )
    assert [d.spec.name for d in listed.deployments] == ["m"]
    stranger = platform.user(tenant="other")
    for name in ("m", "deployments/default/m"):
        request = deployment_pb2.GetDeploymentRequest(name=name)
        await refused(stub.GetDeployment, request, stranger, errors.NotFoundError)
    await stub.DeleteDeployment(
        deployment_pb2.DeleteDeploymentRequest(name="m"), metadata=platform.user(), timeout=TIMEOUT
    )
    error = await refused(stub.GetDeployment, get, platform.user(), errors.NotFoundError)
    assert error.reason == "DEPLOYMENT_NOT_FOUND"
