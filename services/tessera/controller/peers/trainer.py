"""What the controller asks of a running driver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from tessera import errors
from tessera.api.controller.v1 import job_pb2
from tessera.api.trainer.v1 import trainer_pb2 as pb
from tessera.api.trainer.v1 import trainer_pb2_grpc as pb_grpc
from tessera.controller.policy.registry import Endpoint, EndpointRole, Registry
from tessera.rpc.channel import aio_channel, bearer, peer_errors
from tessera.rpc.principal import Principal, Role
from tessera.rpc.tls.names import attempt_name
from tessera.rpc.token import Token, tls_of

SECONDS = 5.0
_UNAVAILABLE = "DRIVER_UNAVAILABLE"


class Drivers:
    """Asks the drivers that are registered now.

    What listens there is a job's own code, and it sees the token that it is called with: so that is
    worth nothing but calls of this one attempt.

    Args:
        registry: knows where they listen.
        shown: gives the controller's token for what it says.
    """

    def __init__(self, registry: Registry, shown: Callable[[Principal], Token]) -> None:
        self._registry = registry
        self._shown = shown

    async def status(self, job: str, attempt: int) -> job_pb2.JobRun:
        """Where a run is.

        Raises:
            UnavailableError: its driver is not there (DRIVER_UNAVAILABLE), or does not answer.
        """
        async with self._driver(job, attempt) as (stub, metadata):
            reply = await stub.GetStatus(pb.GetStatusRequest(), metadata=metadata, timeout=SECONDS)
        return reply.run

    async def stop(self, job: str, attempt: int) -> None:
        """Ask a run to stop within two steps, after a last commit.

        Raises:
            UnavailableError: as `status`.
        """
        async with self._driver(job, attempt) as (stub, metadata):
            await stub.Stop(pb.StopRequest(), metadata=metadata, timeout=SECONDS)

    async def checkpoint(self, job: str, attempt: int) -> pb.CheckpointResponse:
        """Ask a run to commit a version within two steps.

        Raises:
            UnavailableError: as `status`.
        """
        async with self._driver(job, attempt) as (stub, metadata):
            return await stub.Checkpoint(pb.CheckpointRequest(), metadata=metadata, timeout=SECONDS)

    @asynccontextmanager
    async def _driver(
        self, job: str, attempt: int
    ) -> AsyncIterator[tuple[pb_grpc.TrainerServiceAsyncStub, Sequence[tuple[str, str]]]]:
        driver = self._find(job)
        token = self._shown(
            Principal(
                subject="controller",
                role=Role.CONTROLLER,
                tenant=driver.tenant,
                job=job,
                attempt=attempt,
            )
        )
        name = attempt_name(driver.tenant, job, attempt)
        async with aio_channel(driver.control_address, tls_of(token), name) as connection:
            with peer_errors(f"the driver of {job}", _UNAVAILABLE):
                yield pb_grpc.TrainerServiceStub(connection), bearer(token)

    def _find(self, job: str) -> Endpoint:
        endpoints = self._registry.resolve(EndpointRole.TRAINER, job)
        if not endpoints:
            raise errors.UnavailableError(
                f"the driver of {job} has not registered yet; try again in a moment",
                reason=_UNAVAILABLE,
                retry_after=1.0,
            )
        return endpoints[0]
