"""The client: jobs, deployments, pools, parameter sets and answers in one object."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tessera import errors
from tessera.api.controller.v1 import pool_pb2
from tessera.api.controller.v1.pool_pb2_grpc import PoolServiceStub
from tessera.client.access import AccessControl
from tessera.client.answers import Answers
from tessera.client.blobs import Blobs
from tessera.client.connection import PATIENCE_SECONDS, Connection
from tessera.client.deployments import Deployments
from tessera.client.home import find
from tessera.client.jobs import Jobs
from tessera.client.parameter_sets import ParameterSets
from tessera.client.processes import Processes
from tessera.client.replicas import Replicas
from tessera.client.scheduling import Scheduling
from tessera.weights.coordinator import Coordinator


class Client(Answers, ParameterSets):
    """A connection to a platform; use it in a `with` statement, or close it.

    Jobs, deployments, pools and answers are the messages of the API (`tessera.api`); sets and
    versions are those of `tessera.weights`, embeddings are arrays. What fails raises
    `tessera.errors`.

    Args:
        address: host:port of the controller; None: that of `home`.
        token: bearer token; None: that of `home`.
        home: folder of a platform on this machine; None: ~/.tessera.
        oidc: gives a token of an OIDC issuer that the platform believes, asked before each exchange
            for one of the platform's: see `tessera.client.oidc`. `token` goes before it.
        ca: file with the authority of the controller's certificate, where connections are
            encrypted; None: that of `home`.
        patience: seconds to wait for a controller that does not answer.

    Raises:
        FailedPreconditionError: NO_PLATFORM, where no address is given and no platform runs;
            CA_UNUSABLE.
    """

    def __init__(
        self,
        address: str | None = None,
        token: str | None = None,
        home: str | Path | None = None,
        *,
        ca: str | Path | None = None,
        oidc: Callable[[], str] | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        access = find(address, token, home, ca=ca, oidc=oidc)
        self._connection = Connection(access, patience=patience)
        self.address = self._connection.address
        self.blobs = Blobs(self._connection)
        self.jobs = Jobs(self._connection, self.blobs)
        self.deployments = Deployments(self._connection)
        self.access = AccessControl(self._connection)
        self.scheduling = Scheduling(self._connection)
        self.processes = Processes(self._connection, self.jobs, self.deployments)
        self._pools: Any = PoolServiceStub(self._connection.channel)
        coordinator = Coordinator(
            self._connection.address, self._connection.token, patience=4 * patience
        )
        Answers.__init__(self, Replicas(self._connection, self.deployments))
        ParameterSets.__init__(self, self._connection, self.jobs, coordinator, self.pools)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._replicas.close()
        self._coordinator.close()
        self._connection.close()

    def pools(self) -> list[pool_pb2.Pool]:
        """The Ray clusters that work is placed on, with what is held of each."""
        request = pool_pb2.ListPoolsRequest()
        return list(self._connection.call(self._pools.ListPools, request).pools)

    def register_pool(
        self, pool: pool_pb2.Pool, token: pool_pb2.SecretRef | None = None
    ) -> pool_pb2.Pool:
        """Add a Ray cluster, or change where it is and what others use of it; for operators.

        Args:
            pool: its name, dashboard_url, ray_address and foreign are taken.
            token: where the controller keeps Ray's token of it; None: as before, unless its URL is
                another one.

        Raises:
            InvalidArgumentError: the name is none, or there is no URL.
        """
        request = pool_pb2.RegisterPoolRequest(pool=pool, token=token)
        registered: pool_pb2.Pool = self._connection.call(self._pools.RegisterPool, request).pool
        return registered

    def delete_pool(self, name: str) -> None:
        """Forget a Ray cluster; for operators.

        Raises:
            NotFoundError: there is none (POOL_NOT_FOUND).
            FailedPreconditionError: something of Tessera's is held on it (POOL_IN_USE), or the
                controller is started with it (POOL_CONFIGURED).
        """
        self._connection.call(self._pools.DeletePool, pool_pb2.DeletePoolRequest(name=name))

    def dashboards(self) -> dict[str, str]:
        """URLs of Ray's dashboards by pool; none for those who may not see the pools."""
        try:
            return {pool.name: pool.dashboard_url for pool in self.pools()}
        except errors.PermissionDeniedError:
            return {}
