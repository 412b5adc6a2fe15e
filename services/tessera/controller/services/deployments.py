"""DeploymentService: what is to be served."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from tessera import errors
from tessera.api.controller.v1 import deployment_pb2 as pb
from tessera.api.controller.v1 import deployment_pb2_grpc as pb_grpc
from tessera.controller.policy import quotas
from tessera.controller.policy.demand import Demand
from tessera.controller.policy.deployment import status
from tessera.controller.policy.records import Deployment, EnsureJob
from tessera.controller.policy.registry import EndpointRole
from tessera.controller.runtime import Runtime, scope
from tessera.controller.services import convert
from tessera.controller.services.submit import DEPLOYMENT_FIELDS, accelerator_of, fits, memory_of
from tessera.controller.signals import ADMISSION, SERVICES
from tessera.controller.store import deployments as store
from tessera.controller.store import ensures, queues
from tessera.rpc import pages
from tessera.rpc.principal import current_principal
from tessera.spec.fill import fill
from tessera.spec.reference import parse_reference

_PAGES = pages.PageTokens(of="deployments", position=r"[-a-z0-9]{1,63}/[-a-z0-9]{1,63}")


class DeploymentService(pb_grpc.DeploymentServiceServicer):
    """Deployments for clients and for the replicas themselves."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._database = runtime.database

    async def CreateDeployment(
        self, request: pb.CreateDeploymentRequest, context: Any
    ) -> pb.CreateDeploymentResponse:
        """Ask for a model to be served."""
        del context
        caller = current_principal()
        with errors.within("spec"):
            spec = resolve(request.spec)
            demand = demand_of(spec)
            await self._runtime.coordinator.check(caller.tenant, spec.model, "model")
            await self._database.read(queues.check, spec.queue, caller.tenant)
            await fits(self._runtime, demand, DEPLOYMENT_FIELDS)
        new = Deployment(
            tenant=caller.tenant,
            name=spec.name,
            owner=caller.subject,
            spec=convert.to_json(spec),
            demand=demand,
            generation="",
            queue=spec.queue,
        )
        quota = quotas.deployments(self._runtime.config.limits.of(caller.tenant))
        known, created = await self._database.write(store.create, new, quota)
        if created:
            self._runtime.signals.wake(ADMISSION)
        return pb.CreateDeploymentResponse(deployment=await self._shown(known))

    async def GetDeployment(
        self, request: pb.GetDeploymentRequest, context: Any
    ) -> pb.GetDeploymentResponse:
        """One deployment."""
        del context
        known = await self._database.read(store.get, *_named(request.name))
        return pb.GetDeploymentResponse(deployment=await self._shown(known))

    async def ListDeployments(
        self, request: pb.ListDeploymentsRequest, context: Any
    ) -> pb.ListDeploymentsResponse:
        """A page of deployments by name."""
        del context
        size = pages.size_of(request.page_size)
        tenant, _, name = _PAGES.decode(request.page_token).partition("/")
        listed = await self._database.read(
            store.page, tenant=scope(current_principal()), after=(tenant, name), size=size + 1
        )
        shown = listed[:size]
        last = f"{shown[-1].tenant}/{shown[-1].name}" if len(listed) > size else ""
        return pb.ListDeploymentsResponse(
            deployments=[await self._shown(item) for item in shown],
            next_page_token=_PAGES.encode(last),
        )

    async def DeleteDeployment(
        self, request: pb.DeleteDeploymentRequest, context: Any
    ) -> pb.DeleteDeploymentResponse:
        """End a deployment."""
        del context
        await self._database.write(store.begin_delete, *_named(request.name))
        self._runtime.signals.wake(SERVICES, ADMISSION)
        return pb.DeleteDeploymentResponse()

    async def _shown(self, item: Deployment) -> pb.Deployment:
        ensure = await self._database.read(_ensure, item.key)
        replicas = self._runtime.registry.resolve(
            EndpointRole.REPLICA, f"{item.name}/", tenant=item.tenant
        )
        now = status(item, replicas, ensure)
        return pb.Deployment(
            name=f"deployments/{item.tenant}/{item.name}",
            spec=convert.from_json(pb.DeploymentSpec, item.spec),
            state=pb.DeploymentState.Value(f"DEPLOYMENT_STATE_{now.state.value}"),
            message=now.message,
            owner=item.owner,
            create_time=convert.timestamp(item.create_time),
            ready_replicas=now.ready,
            failed_replicas=now.failed,
            version=now.version,
            waiting=convert.waiting(item.waiting),
            pool=item.pool,
        )


def resolve(asked: pb.DeploymentSpec) -> pb.DeploymentSpec:
    """The spec with every default filled in; `engine.blocks` follows from the model.

    Raises:
        InvalidArgumentError: LAG_OF_FIXED_VERSION.
    """
    if asked.HasField("max_lag") and parse_reference(asked.model).version:
        text = f"{asked.model} is a version that is always served; leave it out, or name the set"
        raise errors.InvalidArgumentError.at("max_lag", text, "LAG_OF_FIXED_VERSION")
    spec = pb.DeploymentSpec()
    spec.CopyFrom(asked)
    if not spec.HasField("replicas"):
        spec.replicas = 1
    if not spec.HasField("cpus_per_replica"):
        spec.cpus_per_replica = 1.0
    fill(spec, {"queue": "default", "memory_per_replica": "1Gi"})
    if spec.HasField("accelerator") and not spec.accelerator.HasField("count"):
        spec.accelerator.count = 1.0
    engine = spec.engine
    engine.max_batch = engine.max_batch if engine.HasField("max_batch") else 16
    engine.block_size = engine.block_size if engine.HasField("block_size") else 16
    engine.max_waiting = engine.max_waiting if engine.HasField("max_waiting") else 256
    return spec


def _named(name: str) -> tuple[str, str]:
    """Tenant and name; only services may name another tenant's."""
    caller = current_principal()
    parts = name.removeprefix("deployments/").split("/")
    tenant = parts[0] if len(parts) > 1 else caller.tenant
    if scope(caller) not in {None, tenant}:
        raise errors.NotFoundError(
            f"there is no deployment '{name}'", reason="DEPLOYMENT_NOT_FOUND"
        )
    return tenant, parts[-1]


def _ensure(connection: sa.Connection, key: str) -> EnsureJob | None:
    return ensures.every(connection).get(key)


def demand_of(spec: pb.DeploymentSpec) -> Demand:
    """What a resolved deployment asks of a pool."""
    return Demand(
        workers=spec.replicas,
        cpus=spec.cpus_per_replica,
        memory=memory_of(spec.memory_per_replica),
        node_selector=dict(spec.node_selector),
        **accelerator_of(spec.accelerator if spec.HasField("accelerator") else None),
    )
