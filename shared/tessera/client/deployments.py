"""Deployments: models that are served."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from tessera import errors
from tessera.api.controller.v1 import deployment_pb2 as pb
from tessera.api.controller.v1 import registry_pb2
from tessera.api.controller.v1.deployment_pb2_grpc import DeploymentServiceStub
from tessera.api.controller.v1.registry_pb2_grpc import RegistryServiceStub
from tessera.client.connection import Connection
from tessera.rpc.pages import every_page

PAGE = 500
PAUSE_SECONDS = 0.3


class Deployments:
    """The deployments of a platform; one is named with or without `deployments/{tenant}/`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub: Any = DeploymentServiceStub(connection.channel)
        self._registry: Any = RegistryServiceStub(connection.channel)

    def create(self, spec: pb.DeploymentSpec) -> pb.Deployment:
        """Ask for a model to be served; the same spec twice is one deployment.

        Raises:
            NotFoundError: there is no such set or version.
            AlreadyExistsError: another deployment has the name.
            InvalidArgumentError: the spec is wrong, or more than any pool could hold.
        """
        request = pb.CreateDeploymentRequest(spec=spec)
        return self._of(self._connection.call(self._stub.CreateDeployment, request))

    def get(self, name: str) -> pb.Deployment:
        """One deployment.

        Raises:
            NotFoundError: there is none of that name.
        """
        request = pb.GetDeploymentRequest(name=name)
        return self._of(self._connection.call(self._stub.GetDeployment, request))

    def list(self) -> Iterator[pb.Deployment]:
        """All deployments, by name."""
        fetch = partial(self._connection.call, self._stub.ListDeployments)
        for page in every_page(fetch, pb.ListDeploymentsRequest(page_size=PAGE)):
            yield from page.deployments

    def replicas(self) -> Mapping[str, Sequence[registry_pb2.Endpoint]]:
        """The live replicas of every deployment, by its name without tenant."""
        request = registry_pb2.ResolveRequest(role=registry_pb2.ROLE_REPLICA)
        by_name: defaultdict[str, Any] = defaultdict(list)
        for endpoint in self._connection.call(self._registry.Resolve, request).endpoints:
            if endpoint.live:
                by_name[endpoint.name.rpartition("/")[0]].append(endpoint)
        return by_name

    def delete(self, name: str) -> None:
        """End a deployment; its replicas finish what they have begun.

        Raises:
            NotFoundError: there is none of that name.
        """
        request = pb.DeleteDeploymentRequest(name=name)
        self._connection.call(self._stub.DeleteDeployment, request)

    def follow(self, name: str, seconds: float) -> Iterator[pb.Deployment]:
        """The deployment, again and again as it changes, until all its replicas are ready.

        Raises:
            FailedPreconditionError: it, or one of its replicas, can never serve
                (DEPLOYMENT_FAILED).
            DeadlineExceededError: it is not ready after `seconds` (DEPLOYMENT_NOT_READY).
        """
        end = time.monotonic() + seconds
        shown = pb.Deployment()
        while True:
            found = self.get(name)
            if found != shown:
                shown = found
                yield found
            if _over(found):
                raise errors.FailedPreconditionError(
                    f"{name} cannot serve: {found.message}", reason="DEPLOYMENT_FAILED"
                )
            ready = found.state == pb.DEPLOYMENT_STATE_READY
            if ready and found.ready_replicas >= found.spec.replicas:
                return
            if time.monotonic() > end:
                raise errors.DeadlineExceededError(
                    f"{name} is not ready after {seconds:.0f} s: {why(found)}",
                    reason="DEPLOYMENT_NOT_READY",
                )
            time.sleep(PAUSE_SECONDS)

    def wait(self, name: str, seconds: float = 300.0) -> pb.Deployment:
        """The deployment once all its replicas are ready; raises as `follow` does."""
        for found in self.follow(name, seconds):
            last = found
        return last

    def wait_ended(self, name: str, seconds: float = 60.0) -> None:
        """Return once a deployment that was deleted is gone.

        Raises:
            DeadlineExceededError: it is still there after `seconds` (DEPLOYMENT_NOT_ENDED).
        """
        end = time.monotonic() + seconds
        while True:
            try:
                found = self.get(name)
            except errors.NotFoundError:
                return
            if time.monotonic() > end:
                raise errors.DeadlineExceededError(
                    f"{name} has not ended after {seconds:.0f} s: {why(found)}",
                    reason="DEPLOYMENT_NOT_ENDED",
                )
            time.sleep(PAUSE_SECONDS)

    @staticmethod
    def _of(reply: Any) -> pb.Deployment:
        deployment: pb.Deployment = reply.deployment
        return deployment


def _over(deployment: pb.Deployment) -> bool:
    """Whether waiting for all replicas is in vain: no other one may still become ready."""
    decided = deployment.ready_replicas + deployment.failed_replicas
    some = deployment.failed_replicas > 0 and decided >= deployment.spec.replicas
    return deployment.state == pb.DEPLOYMENT_STATE_FAILED or some


def why(deployment: pb.Deployment) -> str:
    """Why a deployment does not serve yet, in one line."""
    waiting = "; ".join(reason.message for reason in deployment.waiting)
    return waiting or deployment.message or "its replicas are starting"
