"""RegistryService: who listens where."""

from __future__ import annotations

from typing import Any

from google.protobuf import duration_pb2

from tessera.api.controller.v1 import registry_pb2 as pb
from tessera.api.controller.v1 import registry_pb2_grpc as pb_grpc
from tessera.controller.runtime import Runtime, scope
from tessera.controller.services import convert
from tessera.controller.signals import SERVICES
from tessera.rpc.identity import current_principal


class RegistryService(pb_grpc.RegistryServiceServicer):
    """Leases of endpoints."""

    def __init__(self, runtime: Runtime) -> None:
        self._registry = runtime.registry
        self._signals = runtime.signals

    async def Register(self, request: pb.RegisterRequest, context: Any) -> pb.RegisterResponse:
        """Announce an endpoint."""
        del context
        caller = current_principal()
        endpoint = convert.from_endpoint(request.endpoint, caller.tenant)
        lease = duration_pb2.Duration()
        lease.FromMilliseconds(int(self._registry.register(caller, endpoint) * 1000))
        self._signals.wake(SERVICES)
        return pb.RegisterResponse(lease=lease)

    async def Heartbeat(self, request: pb.HeartbeatRequest, context: Any) -> pb.HeartbeatResponse:
        """Renew a lease."""
        del context
        role = convert.from_role(request.role)
        labels = dict(request.labels)
        caller = current_principal()
        if self._registry.heartbeat(caller, role, request.name, request.incarnation, labels):
            self._signals.wake(SERVICES)
        return pb.HeartbeatResponse()

    async def Deregister(
        self, request: pb.DeregisterRequest, context: Any
    ) -> pb.DeregisterResponse:
        """Withdraw an endpoint."""
        del context
        role = convert.from_role(request.role)
        self._registry.deregister(current_principal(), role, request.name, request.incarnation)
        self._signals.wake(SERVICES)
        return pb.DeregisterResponse()

    async def Resolve(self, request: pb.ResolveRequest, context: Any) -> pb.ResolveResponse:
        """The endpoints of a role."""
        del context
        found = self._registry.resolve(
            convert.from_role(request.role),
            request.name,
            tenant=scope(current_principal()),
            include_expired=request.include_expired,
        )
        live = self._registry.is_live
        return pb.ResolveResponse(endpoints=[convert.endpoint(e, live=live(e)) for e in found])
