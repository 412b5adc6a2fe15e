"""IdentityService: tokens for tickets and OIDC tokens, certificates for tokens, public keys."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa
from google.protobuf import duration_pb2

from tessera import errors
from tessera.api.controller.v1 import registry_pb2 as pb
from tessera.api.controller.v1 import registry_pb2_grpc as pb_grpc
from tessera.controller.oidc.exchange import Exchanged
from tessera.controller.policy.records import IssuedToken
from tessera.controller.runtime import Runtime
from tessera.controller.store import access, attempts, deployments, tickets
from tessera.controller.store import audit as store_audit
from tessera.rpc.audit import AuditEntry
from tessera.rpc.identity import SERVICES
from tessera.rpc.principal import Principal, Role, current_principal

WORKLOAD_SECONDS = 3600.0
"""How long a workload's token is valid; it is renewed after half of that, a certificate with it."""


class IdentityService(pb_grpc.IdentityServiceServicer):
    """Says who somebody is; but for certificates it asks for no token."""

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

    async def ExchangeOidcToken(
        self, request: pb.ExchangeOidcTokenRequest, context: Any
    ) -> pb.ExchangeOidcTokenResponse:
        """A token of ours for one of an issuer's; it can be listed and revoked like any other."""
        del context
        if self._runtime.oidc is None:
            raise errors.UnauthenticatedError(
                "this platform believes no OIDC issuer; `tessera up --oidc FILE` names some",
                reason="OIDC_ISSUER",
            )
        worth = await self._runtime.oidc.judge(request.token)
        made = IssuedToken(
            id=self._runtime.ids.token(),
            tenant=worth.principal.tenant,
            role=worth.principal.role,
            subject=worth.principal.subject,
            audience=SERVICES,
            creator=worth.issuer,
            create_time=time.time(),
            expire_time=worth.expire_time,
        )
        await self._runtime.database.write(_remember, made, worth)
        ttl = made.expire_time - made.create_time
        token = self._runtime.issuer.issue(worth.principal, ttl=ttl, token_id=made.id)
        return pb.ExchangeOidcTokenResponse(token=token)

    async def GetKeys(self, request: pb.GetKeysRequest, context: Any) -> pb.GetKeysResponse:
        """The public keys."""
        del request, context
        return pb.GetKeysResponse(keys=self._runtime.trust.keys.public)

    async def IssueCertificate(
        self, request: pb.IssueCertificateRequest, context: Any
    ) -> pb.IssueCertificateResponse:
        """A certificate for what the caller is."""
        del context
        encryption = self._runtime.trust.encryption
        if encryption is None:
            raise errors.FailedPreconditionError(
                "this platform does not encrypt; start it with `tessera up --tls`",
                reason="TLS_OFF",
            )
        caller = current_principal()
        made = encryption.certify(request.request, caller, WORKLOAD_SECONDS)
        lifetime = duration_pb2.Duration()
        lifetime.FromMilliseconds(int(WORKLOAD_SECONDS * 1000))
        return pb.IssueCertificateResponse(
            certificate=made, authority=encryption.authority, lifetime=lifetime
        )

    def _issue(self, principal: Principal) -> str:
        return self._runtime.issuer.issue(principal, ttl=WORKLOAD_SECONDS)


def _remember(connection: sa.Connection, made: IssuedToken, worth: Exchanged) -> None:
    """Keep what is known of an exchanged token, and that it was; of those that expired nothing."""
    try:
        access.add_token(connection, made)
    except errors.NotFoundError:
        raise errors.PermissionDeniedError(
            f"'{made.subject}' of {worth.issuer} is let into tenant '{made.tenant}', which there is"
            " not; an operator adds it: `tessera tenants create`",
            reason="OIDC_TENANT",
        ) from None
    access.forget_expired(connection, worth.issuer)
    entry = AuditEntry(
        time=made.create_time,
        subject=made.subject,
        role=made.role.value,
        tenant=made.tenant,
        method="ExchangeOidcToken",
        resource=worth.issuer,
        outcome="OK",
    )
    store_audit.append(connection, entry)


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
