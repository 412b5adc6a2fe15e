"""RegistryService: who listens where."""

from __future__ import annotations

from typing import Any

from google.protobuf import duration_pb2

from tessera import errors
from tessera.api.controller.v1 import registry_pb2 as pb
from tessera.api.controller.v1 import registry_pb2_grpc as pb_grpc
from tessera.controller.policy.registry import Endpoint, EndpointRole
from tessera.controller.runtime import Runtime, scope
from tessera.controller.signals import SERVICES
from tessera.rpc.principal import current_principal


class RegistryService(pb_grpc.RegistryServiceServicer):
    """Leases of endpoints."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._registry = runtime.registry
        self._signals = runtime.signals
        self._trust = runtime.trust

    async def Register(self, request: pb.RegisterRequest, context: Any) -> pb.RegisterResponse:
        """Announce an endpoint."""
        del context
        await self._runtime.require_lead()
        caller = current_principal()
        endpoint = _endpoint_of(request.endpoint, caller.tenant)
        lease = duration_pb2.Duration()
        lease.FromMilliseconds(int(self._registry.register(caller, endpoint) * 1000))
        self._signals.wake(SERVICES)
        return pb.RegisterResponse(lease=lease)

    async def Heartbeat(self, request: pb.HeartbeatRequest, context: Any) -> pb.HeartbeatResponse:
        """Renew a lease."""
        del context
        await self._runtime.require_lead()
        role = _role_of(request.role)
        labels = dict(request.labels)
        caller = current_principal()
        if self._registry.heartbeat(caller, role, request.name, request.incarnation, labels):
            self._signals.wake(SERVICES)
        return pb.HeartbeatResponse(
            keys=self._trust.keys.public, revoked_tokens=self._trust.revoked
        )

    async def Deregister(
        self, request: pb.DeregisterRequest, context: Any
    ) -> pb.DeregisterResponse:
        """Withdraw an endpoint."""
        del context
        await self._runtime.require_lead()
        role = _role_of(request.role)
        self._registry.deregister(current_principal(), role, request.name, request.incarnation)
        self._signals.wake(SERVICES)
        return pb.DeregisterResponse()

    async def Resolve(self, request: pb.ResolveRequest, context: Any) -> pb.ResolveResponse:
        """The endpoints of a role."""
        del context
        await self._runtime.require_lead()
        found = self._registry.resolve(
            _role_of(request.role),
            request.name,
            tenant=scope(current_principal()),
            include_expired=request.include_expired,
        )
        live = self._registry.is_live
        return pb.ResolveResponse(endpoints=[_endpoint_message(e, live=live(e)) for e in found])


def _endpoint_message(value: Endpoint, *, live: bool) -> pb.Endpoint:
    """An endpoint, for callers."""
    return pb.Endpoint(
        role=pb.Role.Value(f"ROLE_{value.role.value}"),
        name=value.name,
        incarnation=value.incarnation,
        control_address=value.control_address,
        data_address=value.data_address,
        build=value.build,
        labels=value.labels,
        live=live,
    )


def _endpoint_of(value: pb.Endpoint, tenant: str) -> Endpoint:
    """An endpoint that registers."""
    return Endpoint(
        role=_role_of(value.role),
        name=value.name,
        tenant=tenant,
        incarnation=value.incarnation,
        control_address=value.control_address,
        data_address=value.data_address,
        build=value.build,
        labels=dict(value.labels),
    )


def _role_of(value: pb.Role.ValueType) -> EndpointRole:
    """A role.

    Raises:
        InvalidArgumentError: it is not set, or unknown (UNKNOWN_ROLE).
    """
    name = pb.Role.Name(value) if value in pb.Role.values() else ""
    if (short := name.removeprefix("ROLE_")) not in EndpointRole.__members__:
        raise errors.InvalidArgumentError(
            "role: it must be set",
            reason="UNKNOWN_ROLE",
            violations=[errors.Violation("role", "must be set")],
        )
    return EndpointRole[short]
