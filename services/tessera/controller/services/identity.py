"""IdentityService: tickets become tokens, keys are public."""

from __future__ import annotations

from typing import Any

from tessera.api.controller.v1 import registry_pb2 as pb
from tessera.api.controller.v1 import registry_pb2_grpc as pb_grpc
from tessera.controller.runtime import Runtime
from tessera.controller.store import tickets


class IdentityService(pb_grpc.IdentityServiceServicer):
    """The one service that asks for no token."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def ExchangeTicket(
        self, request: pb.ExchangeTicketRequest, context: Any
    ) -> pb.ExchangeTicketResponse:
        """A token for a one-time ticket."""
        del context
        principal = await self._runtime.database.write(tickets.redeem, request.ticket)
        return pb.ExchangeTicketResponse(token=self._runtime.issuer.issue(principal))

    async def GetKeys(self, request: pb.GetKeysRequest, context: Any) -> pb.GetKeysResponse:
        """The public keys."""
        del request, context
        return pb.GetKeysResponse(keys=self._runtime.trust.keys.public)
