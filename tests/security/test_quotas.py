"""What one tenant has open, and keeps, is bounded; what it uploads is its own."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time

import controllers
import grpc
import pytest
import sqlalchemy as sa

from tessera import errors
from tessera.api.controller.v1 import job_pb2, pool_pb2
from tessera.api.controller.v1.spec_pb2 import DataSpec, PublishSpec
from tessera.controller.policy import quotas
from tessera.controller.policy.demand import Demand
from tessera.controller.policy.records import Deployment
from tessera.controller.reconcile.blobs import BlobLoop
from tessera.controller.store import deployments, holdings
from tessera.controller.store.schema import blobs
from tessera.rpc.platform_limits import PlatformLimits, TenantLimits, UploadLimits
from tessera.rpc.principal import Role
from tessera.rpc.status import from_rpc_error

WAIT = 10
LIMITS = PlatformLimits(
    tenant=TenantLimits(
        jobs=3,
        jobs_of_principal=2,
        deployments=3,
        deployments_of_principal=2,
        watches=3,
        watches_of_principal=2,
        blob_bytes=1000,
    ),
    uploads=UploadLimits(bytes=600),
)


@pytest.fixture
async def platform(tmp_path):
    running = await controllers.Running(home=tmp_path, limits=LIMITS).open()
    yield running
    await running.close()


async def refusal(call):
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return caught.value.code(), from_rpc_error(caught.value)


async def check_exceeded(call, limit):
    code, error = await refusal(call)
    assert (code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
    assert error.metadata["limit"] == str(limit)
    assert error.retry_after


async def test_open_jobs(platform):
    def submit(n, subject, tenant="a"):
        user = platform.user(subject, tenant, Role.SUBMITTER)
        return platform.submit(f"j{n}", publish=PublishSpec(set=f"s{n}"), user=user)

    first, _ = await submit(1, "ada"), await submit(2, "ada")
    await check_exceeded(submit(3, "ada"), 2)
    await submit(3, "bob")
    await check_exceeded(submit(4, "bob"), 3)
    await submit(4, "bob", "b")
    ada = platform.user("ada", "a", Role.SUBMITTER)
    await platform.jobs.CancelJob(job_pb2.CancelJobRequest(name=first.id), metadata=ada)
    await submit(5, "ada")


async def test_deployments(platform):
    write = platform.runtime.database.write

    def create(n, owner, tenant="a"):
        new = Deployment(
            tenant=tenant,
            name=f"d{n}",
            owner=owner,
            spec="{}",
            demand=Demand(workers=1, cpus=1.0),
            generation="",
        )
        return write(deployments.create, new, quotas.deployments(LIMITS.tenant))

    for n, owner in enumerate(["ada", "ada", "bob"]):
        await create(n, owner)
    assert (await create(0, "ada"))[1] is False
    for owner, most in {"ada": "2", "bob": "3"}.items():
        with pytest.raises(errors.ResourceExhaustedError) as refused:
            await create(9, owner)
        assert refused.value.metadata["limit"] == most
    await create(9, "ada", "b")


async def test_watches(platform):
    job = await platform.submit(user=platform.user("ada", "a"))
    request = job_pb2.WatchJobRequest(name=job.id)

    async def begin(subject):
        call = platform.jobs.WatchJob(request, metadata=platform.user(subject, "a"))
        await call.read()
        return call

    running = [await begin("ada"), await begin("ada")]
    await check_exceeded(begin("ada"), 2)
    running.append(await begin("bob"))
    await check_exceeded(begin("bob"), 3)
    running.pop(0).cancel()
    async with asyncio.timeout(WAIT):
        while True:
            try:
                running.append(await begin("bob"))
                break
            except grpc.RpcError:
                await asyncio.sleep(0.05)
    for call in running:
        call.cancel()


def parts(data, digest=None, size=100):
    yield pool_pb2.PutBlobRequest(digest=digest or hashlib.sha256(data).hexdigest())
    for begin in range(0, len(data), size):
        yield pool_pb2.PutBlobRequest(data=data[begin : begin + size])


def people(platform):
    return {tenant: platform.user("x", tenant, Role.SUBMITTER) for tenant in ("a", "b")}


async def test_a_blob_is_its_tenants(platform):
    users, data = people(platform), b"secret of a"
    digest = hashlib.sha256(data).hexdigest()
    await platform.blobs.PutBlob(parts(data), metadata=users["a"], timeout=WAIT)
    stat = pool_pb2.StatBlobRequest(digest=digest)
    get = pool_pb2.GetBlobRequest(digest=digest)
    assert (await platform.blobs.StatBlob(stat, metadata=users["a"])).size == len(data)
    code, never = await refusal(platform.blobs.StatBlob(stat, metadata=users["b"]))
    other = pool_pb2.StatBlobRequest(digest="0" * 64)
    _, unknown = await refusal(platform.blobs.StatBlob(other, metadata=users["b"]))
    assert code is grpc.StatusCode.NOT_FOUND
    assert never.message.replace(digest, "0" * 64) == unknown.message
    code, _ = await refusal(platform.blobs.GetBlob(get, metadata=users["b"]).read())
    assert code is grpc.StatusCode.NOT_FOUND
    # Who names another's digest has to have its bytes.
    code, _ = await refusal(platform.blobs.PutBlob(parts(b"", digest), metadata=users["b"]))
    assert code is grpc.StatusCode.DATA_LOSS
    await platform.blobs.PutBlob(parts(data), metadata=users["b"], timeout=WAIT)
    assert (await platform.blobs.GetBlob(get, metadata=users["b"]).read()).data == data


async def test_bytes_of_blobs(platform):
    users = people(platform)
    put = platform.blobs.PutBlob
    code, error = await refusal(put(parts(b"a" * 601), metadata=users["a"]))
    assert (code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "BLOB_TOO_LARGE")
    await put(parts(b"a" * 600), metadata=users["a"])
    await put(parts(b"a" * 600), metadata=users["a"])
    code, error = await refusal(put(parts(b"b" * 401), metadata=users["a"]))
    assert (code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "BLOB_TOO_LARGE")
    await put(parts(b"b" * 401), metadata=users["b"])
    await put(parts(b"b" * 400), metadata=users["a"])
    code, error = await refusal(put(parts(b"a" * (1 << 22), size=1 << 22), metadata=users["b"]))
    assert code in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert not list(platform.home.rglob("*.part"))


async def test_two_uploads_at_once_do_not_pass_the_quota_together(platform):
    write, there = platform.runtime.database.write, lambda _: True
    await write(holdings.add, "a", "1" * 64, 600, quota=1000, there=there)
    with pytest.raises(errors.ResourceExhaustedError):
        await write(holdings.add, "a", "2" * 64, 401, quota=1000, there=there)


async def test_a_job_names_only_what_its_tenant_has_uploaded(platform):
    users, digest = people(platform), hashlib.sha256(b"text").hexdigest()
    data = DataSpec(files=[f"blob://{digest}/t.txt"])
    await platform.blobs.PutBlob(parts(b"text"), metadata=users["a"], timeout=WAIT)
    code, error = await refusal(platform.submit(user=users["b"], data=data))
    assert (code, error.reason) == (grpc.StatusCode.NOT_FOUND, "BLOB_NOT_FOUND")
    assert digest in error.message
    await platform.submit(user=users["a"], data=data)


async def test_what_nobody_uses_is_dropped(platform):
    users, runtime = people(platform), platform.runtime
    contents = {name: name.encode() for name in ("named", "fresh", "old", "shared")}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    for data in contents.values():
        await platform.blobs.PutBlob(parts(data), metadata=users["a"], timeout=WAIT)
    await platform.blobs.PutBlob(parts(b"shared"), metadata=users["b"], timeout=WAIT)
    data = DataSpec(files=[f"blob://{digests['named']}/t.txt"])
    job = await platform.submit(user=users["a"], data=data)
    past = time.time() - 40 * 86_400
    for path in (platform.home / "blobs").iterdir():
        os.utime(path, (past, past))
    await runtime.database.write(age, past, [digests[n] for n in ("named", "old", "shared")], "a")
    await BlobLoop(runtime).round()
    left = {path.name for path in (platform.home / "blobs").iterdir()}
    assert left == {digests[name] for name in ("named", "fresh", "shared")}
    stat = pool_pb2.StatBlobRequest(digest=digests["shared"])
    code, _ = await refusal(platform.blobs.StatBlob(stat, metadata=users["a"]))
    assert code is grpc.StatusCode.NOT_FOUND
    assert (await platform.blobs.StatBlob(stat, metadata=users["b"])).size == 6
    await platform.jobs.CancelJob(job_pb2.CancelJobRequest(name=job.id), metadata=users["a"])
    await BlobLoop(runtime).round()
    assert digests["named"] not in {path.name for path in (platform.home / "blobs").iterdir()}


def age(connection: sa.Connection, at: float, digests: list[str], tenant: str) -> None:
    where = blobs.c.tenant == tenant, blobs.c.digest.in_(digests)
    connection.execute(blobs.update().where(*where).values(used=at))
