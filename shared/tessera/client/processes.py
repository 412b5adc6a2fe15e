"""What running processes say of themselves: the drivers of jobs and the replicas of models."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import xxhash

from tessera import errors
from tessera.api.controller.v1 import job_pb2, registry_pb2
from tessera.api.controller.v1.job_pb2_grpc import JobServiceStub
from tessera.api.controller.v1.registry_pb2_grpc import RegistryServiceStub
from tessera.api.inference.v1 import inference_pb2
from tessera.api.inference.v1.inference_pb2_grpc import ReplicaServiceStub
from tessera.client.connection import Connection
from tessera.client.deployments import Deployments
from tessera.client.jobs import Jobs
from tessera.rpc.channel import channel, mapped_errors
from tessera.rpc.tls.names import replica_name
from tessera.rpc.token import tls_of

STATUS_SECONDS = 5.0
DIGEST_SECONDS = 120.0
"""How long a replica may take to hash its weights."""

AT_ONCE = 16
"""Replicas that are asked at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaReport:
    """What one replica says of itself.

    Args:
        name: `DEPLOYMENT/INDEX`.
        state: `ACTIVE`, for example; `UNREACHABLE` where it does not answer.
        version: that serves; 0: none.
        running: requests that run.
        waiting: requests that wait.
        corrupted_requests: that ended because the version's numbers were not finite.
        digest: of all its weights as they lie in memory, hexadecimal: the same for the same bytes;
            empty where none are loaded.
        message: what went wrong last, if anything.
    """

    name: str
    state: str
    version: int = 0
    running: int = 0
    waiting: int = 0
    corrupted_requests: int = 0
    digest: str = ""
    message: str = ""


class Processes:
    """Finds the processes through the controller, and asks each of them.

    Args:
        connection: to the controller.
        jobs: tells which run.
        deployments: tells which there are.
    """

    def __init__(self, connection: Connection, jobs: Jobs, deployments: Deployments) -> None:
        self._connection = connection
        self._jobs = jobs
        self._deployments = deployments
        self._registry: Any = RegistryServiceStub(connection.channel)
        self._stub: Any = JobServiceStub(connection.channel)

    def run(self, job: str) -> job_pb2.JobRun:
        """Where a job is and where its ranks run, as its driver says.

        Args:
            job: id or name.

        Raises:
            NotFoundError: JOB_NOT_FOUND.
            FailedPreconditionError: it does not run (JOB_NOT_RUNNING).
            UnavailableError: its driver is not there yet, or gone (DRIVER_UNAVAILABLE).
        """
        request = job_pb2.GetJobRunRequest(name=self._jobs.get(job).id)
        found: job_pb2.JobRun = self._connection.call(self._stub.GetJobRun, request).run
        return found

    def replicas(self, model: str) -> list[ReplicaReport]:
        """The replicas of a deployment that are registered, by index.

        Raises:
            NotFoundError: there is no such deployment.
        """
        name = self._deployments.get(model).spec.name
        endpoints = self._resolve(registry_pb2.ROLE_REPLICA, f"{name}/")
        endpoints.sort(key=lambda endpoint: int(endpoint.name.rpartition("/")[2]))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self._report, endpoints))

    def _resolve(self, role: registry_pb2.Role.ValueType, name: str) -> list[registry_pb2.Endpoint]:
        request = registry_pb2.ResolveRequest(role=role, name=name)
        return list(self._connection.call(self._registry.Resolve, request).endpoints)

    def _report(self, endpoint: registry_pb2.Endpoint) -> ReplicaReport:
        name = replica_name(self._connection.tenant, endpoint.name.rpartition("/")[0])
        tls = tls_of(self._connection.token)
        with channel(endpoint.control_address, tls, name) as connection:
            stub = ReplicaServiceStub(connection)
            try:
                with mapped_errors():
                    status = stub.GetReplicaStatus(
                        inference_pb2.GetReplicaStatusRequest(), **self._options(STATUS_SECONDS)
                    )
                digest, trouble = self._digest(stub)
            except errors.TesseraError as error:
                return ReplicaReport(name=endpoint.name, state="UNREACHABLE", message=error.message)
        state = inference_pb2.ReplicaState.Name(status.state)
        return ReplicaReport(
            name=endpoint.name,
            state=state.removeprefix("REPLICA_STATE_"),
            version=status.version,
            running=status.running,
            waiting=status.waiting,
            corrupted_requests=status.corrupted_requests,
            digest=digest,
            message=status.message or trouble,
        )

    def _digest(self, stub: ReplicaServiceStub) -> tuple[str, str]:
        """The digest of all weights, and why there is none."""
        request = inference_pb2.GetDigestsRequest()
        try:
            with mapped_errors():
                answer = stub.GetDigests(request, **self._options(DIGEST_SECONDS))
        except errors.TesseraError as error:
            return "", error.message
        return combined(answer), ""

    def _options(self, seconds: float) -> dict[str, Any]:
        return {"metadata": self._connection.metadata, "timeout": seconds}


def combined(answer: inference_pb2.GetDigestsResponse) -> str:
    """One digest, 16 hexadecimal digits, of the names, shapes and checksums of all tensors.

    It does not depend on their order, nor on the number of the version that they are of.
    """
    lines = sorted(
        f"{digest.box.tensor} {list(digest.box.extents)} {digest.checksum:016x}"
        for digest in answer.digests
    )
    return xxhash.xxh3_64_hexdigest("\n".join(lines).encode())
