"""A real controller on a free port, with its store in a folder of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from migrated import migrated

from tessera.api.controller.v1 import (
    attempt_pb2_grpc,
    deployment_pb2_grpc,
    job_pb2,
    job_pb2_grpc,
    pool_pb2_grpc,
    registry_pb2_grpc,
)
from tessera.api.controller.v1.spec_pb2 import DataSpec, JobSpec, ModelSpec
from tessera.controller.app import Controller
from tessera.controller.config import Config
from tessera.controller.store import attempts as store_attempts
from tessera.controller.store import placement
from tessera.rpc.channel import aio_channel, bearer
from tessera.rpc.platform_limits import PlatformLimits
from tessera.rpc.principal import Principal, Role


def spec(name="demo", **fields) -> JobSpec:
    """A short valid spec."""
    return JobSpec(
        name=name,
        model=fields.pop("model", ModelSpec(family="gpt")),
        data=fields.pop("data", DataSpec(files=["stdlib://**/*.py"])),
        **fields,
    )


@dataclass
class Running:
    """A controller that can be killed and opened again on the same home."""

    home: Path
    limits: PlatformLimits = field(default_factory=PlatformLimits)
    database: str = ""
    controller: Controller | None = None
    channel: grpc.aio.Channel | None = None

    async def open(self) -> Running:
        config = Config(
            host="127.0.0.1",
            port=0,
            home=self.home,
            shards=0,
            limits=self.limits,
            database=self.database,
        )
        self.controller = Controller(config, run_loops=False)
        if not self.database:
            migrated(self.home / "controller.db")
        port = await self.controller.start()
        self.channel = aio_channel(f"127.0.0.1:{port}")
        return self

    async def close(self) -> None:
        await self.channel.close()
        await self.controller.stop(grace=0)

    async def reopen(self) -> None:
        await self.close()
        await self.open()

    @property
    def runtime(self):
        return self.controller.runtime

    def token(self, principal: Principal):
        return bearer(self.runtime.issuer.issue(principal))

    def user(self, subject="ada", tenant="default", role=Role.OPERATOR):
        return self.token(Principal(subject=subject, role=role, tenant=tenant))

    def shard(self):
        return self.token(Principal(subject="shard-0", role=Role.SHARD, tenant=""))

    def attempt(self, job: str, number: int = 1, tenant="default"):
        return self.token(
            Principal(
                subject=f"attempt:{job}/{number}",
                role=Role.ATTEMPT,
                tenant=tenant,
                job=job,
                attempt=number,
            )
        )

    @property
    def jobs(self):
        return job_pb2_grpc.JobServiceStub(self.channel)

    @property
    def attempts(self):
        return attempt_pb2_grpc.AttemptServiceStub(self.channel)

    @property
    def registry(self):
        return registry_pb2_grpc.RegistryServiceStub(self.channel)

    @property
    def identity(self):
        return registry_pb2_grpc.IdentityServiceStub(self.channel)

    @property
    def pools(self):
        return pool_pb2_grpc.PoolServiceStub(self.channel)

    @property
    def blobs(self):
        return pool_pb2_grpc.BlobServiceStub(self.channel)

    @property
    def deployments(self):
        return deployment_pb2_grpc.DeploymentServiceStub(self.channel)

    async def submit(self, name="demo", *, user=None, **fields) -> job_pb2.Job:
        request = job_pb2.CreateJobRequest(spec=spec(name, **fields))
        reply = await self.jobs.CreateJob(request, metadata=user or self.user(), timeout=10)
        return reply.job

    async def get(self, job: str) -> job_pb2.Job:
        request = job_pb2.GetJobRequest(name=job)
        return (await self.jobs.GetJob(request, metadata=self.user(), timeout=10)).job

    async def admit(self, job: str) -> None:
        """What the scheduler does, without a pool."""
        await self.runtime.database.write(placement.admit, job, pool="local")

    async def release(self, job: str, number: int = 1) -> None:
        await self.runtime.database.write(store_attempts.release, job, number)


@pytest.fixture
async def platform(tmp_path) -> AsyncIterator[Running]:
    running = await Running(home=tmp_path).open()
    yield running
    await running.close()
