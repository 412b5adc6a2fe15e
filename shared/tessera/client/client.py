"""The client: jobs, deployments, pools, parameter sets and answers in one object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tessera import errors
from tessera.api.controller.v1 import pool_pb2
from tessera.api.controller.v1.pool_pb2_grpc import PoolServiceStub
from tessera.client import checked_folder, hub, imports
from tessera.client.access import AccessControl
from tessera.client.answers import Answers
from tessera.client.blobs import Blobs, Progress
from tessera.client.connection import PATIENCE_SECONDS, Connection
from tessera.client.deployments import Deployments
from tessera.client.export import Exported, export
from tessera.client.home import find
from tessera.client.jobs import Jobs
from tessera.client.processes import Processes
from tessera.client.replicas import Replicas
from tessera.spec.reference import parse_reference, parse_set
from tessera.weights.coordinator import Coordinator
from tessera.weights.manifest import ParameterSet, Verification, Version

ACTIVE = ("QUEUED", "STARTING", "RUNNING", "CANCELLING")
"""States of jobs that have not ended."""


class Client(Answers):
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
        self.processes = Processes(self._connection, self.jobs, self.deployments)
        super().__init__(Replicas(self._connection, self.deployments))
        self._pools: Any = PoolServiceStub(self._connection.channel)
        self._coordinator = Coordinator(
            self._connection.address, self._connection.token, patience=4 * patience
        )

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

    def sets(self) -> list[ParameterSet]:
        """The parameter sets, by name."""
        self._reach()
        return self._coordinator.list_sets()

    def versions(self, name: str) -> list[Version]:
        """The committed versions of a set, newest first.

        Raises:
            NotFoundError: there is no such set.
        """
        self._reach()
        return self._coordinator.list_versions(
            parse_reference(name).full_name(self._connection.tenant)
        )

    def verify(self, reference: str) -> Iterator[Verification]:
        """Have all of `set@version` (or the newest of `set`) read and held against its checksums.

        Yields:
            How far it is, about twice a second; the last says all that is damaged.

        Raises:
            InvalidArgumentError: INVALID_REFERENCE.
            NotFoundError: there is no such set or version.
            UnavailableError: a shard is away (SHARD_UNAVAILABLE).
        """
        self._reach()
        named = parse_reference(reference, "version")
        name = named.full_name(self._connection.tenant)
        return self._coordinator.verify_version(name, named.version)

    def export(self, reference: str, folder: str | Path, *, force: bool = False) -> Exported:
        """Write `set@version` (or the newest of `set`) as a folder that transformers loads.

        Raises:
            InvalidArgumentError: INVALID_REFERENCE.
            AlreadyExistsError: the folder is not empty and `force` is not set.
            NotFoundError: there is no such set or version.
            FailedPreconditionError: EXPORT_UNSUPPORTED: transformers has no such model.
        """
        named = parse_reference(reference, "version")
        name = named.full_name(self._connection.tenant)
        self._reach()
        return export(
            self._coordinator,
            self._connection.token,
            name,
            named.version,
            Path(folder),
            force=force,
        )

    def import_model(
        self,
        source: str | Path,
        name: str,
        *,
        revision: str = "",
        base: str | Path = "",
        progress: Progress | None = None,
    ) -> imports.Imported:
        """Commit a model of Hugging Face's as a version of a set.

        Args:
            source: a folder that `save_pretrained` wrote, or a repository of the hub.
            name: of the set, which is made if need be.
            revision: of the repository: a branch, tag or commit; empty: its main branch.
            base: of an adapter: the folder or repository of the model that it is for; empty: the
                one that the adapter names.
            progress: called with bytes done and bytes in all.

        Raises:
            InvalidArgumentError: INVALID_REFERENCE, or what it holds cannot be imported.
            NotFoundError: there is no such folder or repository, or no model in it.
            FailedPreconditionError: a job that has not ended writes this set (SET_BUSY), an
                adapter's base cannot be had, or a package is not installed.
            UnavailableError: the hub does not answer.
        """
        whole = f"{self._connection.tenant}/{parse_set(name)}"
        self._check_free(whole)
        found = checked_folder.read(hub.locate(str(source), revision), str(base))
        origin = f"{source}@{revision}" if revision else str(source)
        token = self._connection.token
        return imports.commit(self._coordinator, token, whole, found, origin, progress)

    def _check_free(self, name: str) -> None:
        """Raise where a job still writes a set: an import would take it away from the job."""
        for state in ACTIVE:
            for job in self.jobs.list(f"state={state}"):
                if f"{job.tenant}/{job.spec.publish.set}" == name:
                    raise errors.FailedPreconditionError(
                        f"job {job.id} writes the set {name}: import into another one, or wait",
                        reason="SET_BUSY",
                    )

    def _reach(self) -> None:
        """Fail at once, and clearly, where no controller answers: looking for others may wait."""
        self.pools()
