"""What the controller asks of a running driver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tessera import errors
from tessera.api.trainer.v1 import trainer_pb2 as pb
from tessera.api.trainer.v1 import trainer_pb2_grpc as pb_grpc
from tessera.controller.policy.registry import Endpoint, EndpointRole, Registry
from tessera.rpc.channel import aio_channel, bearer, peer_errors
from tessera.rpc.tls.names import attempt_name
from tessera.rpc.token import Token, tls_of

SECONDS = 5.0
_UNAVAILABLE = "DRIVER_UNAVAILABLE"


class Drivers:
    """Asks the drivers that are registered now.

    Args:
        registry: knows where they listen.
        token: of the controller, role service.
    """

    def __init__(self, registry: Registry, token: Token) -> None:
        self._registry = registry
        self._token = token

    async def stop(self, job: str) -> None:
        """Ask a run to stop within two steps, after a last commit.

        Raises:
            UnavailableError: its driver is not there (DRIVER_UNAVAILABLE), or does not answer.
        """
        async with self._driver(job) as stub:
            await stub.Stop(pb.StopRequest(), metadata=bearer(self._token), timeout=SECONDS)

    async def checkpoint(self, job: str) -> pb.CheckpointResponse:
        """Ask a run to commit a version within two steps.

        Raises:
            UnavailableError: as `stop`.
        """
        async with self._driver(job) as stub:
            return await stub.Checkpoint(
                pb.CheckpointRequest(), metadata=bearer(self._token), timeout=SECONDS
            )

    @asynccontextmanager
    async def _driver(self, job: str) -> AsyncIterator[pb_grpc.TrainerServiceAsyncStub]:
        driver = self._find(job)
        name = attempt_name(driver.tenant, job, int(driver.labels.get("attempt", "0")))
        async with aio_channel(driver.control_address, tls_of(self._token), name) as connection:
            with peer_errors(f"the driver of {job}", _UNAVAILABLE):
                yield pb_grpc.TrainerServiceStub(connection)

    def _find(self, job: str) -> Endpoint:
        endpoints = self._registry.resolve(EndpointRole.TRAINER, job)
        if not endpoints:
            raise errors.UnavailableError(
                f"the driver of {job} has not registered yet; try again in a moment",
                reason=_UNAVAILABLE,
                retry_after=1.0,
            )
        return endpoints[0]
