"""IdentityService: tickets become tokens, keys are public."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from tessera import errors
from tessera.api.controller.v1 import registry_pb2 as pb
from tessera.api.controller.v1 import registry_pb2_grpc as pb_grpc
from tessera.controller.runtime import Runtime
from tessera.controller.store import attempts, deployments, tickets
from tessera.rpc.principal import Principal, Role

WORKLOAD_SECONDS = 3600.0
"""How long a workload's token is valid; it is renewed after half of that."""


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
        return pb.ExchangeTicketResponse(token=self._issue(principal))

    async def RenewToken(
        self, request: pb.RenewTokenRequest, context: Any
    ) -> pb.RenewTokenResponse:
        """The next token of a workload that stands."""
        del context
        principal = self._runtime.trust.verifier.verify_expired(request.token)
        if not await self._runtime.database.read(_stands, principal):
            raise errors.UnauthenticatedError(
                f"{principal} is no workload that stands; nothing renews its token",
                reason="WORKLOAD_GONE",
            )
        return pb.RenewTokenResponse(token=self._issue(principal))

    async def GetKeys(self, request: pb.GetKeysRequest, context: Any) -> pb.GetKeysResponse:
        """The public keys."""
        del request, context
        return pb.GetKeysResponse(keys=self._runtime.trust.keys.public)

    def _issue(self, principal: Principal) -> str:
        return self._runtime.issuer.issue(principal, ttl=WORKLOAD_SECONDS)


def _stands(connection: sa.Connection, principal: Principal) -> bool:
    """Whether what a token was made for is there: nobody else is renewed."""
    try:
        match principal.role:
            case Role.ATTEMPT:
                found = attempts.get(connection, principal.job, principal.attempt)
                return found.end_time is None
            case Role.REPLICA:
                deployments.get(connection, principal.tenant, principal.deployment)
                return True
            case Role.COORDINATOR | Role.SHARD:
                return True
            case _:
                return False
    except errors.NotFoundError:
        return False
