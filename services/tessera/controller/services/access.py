"""AccessService: tenants, tokens and keys."""

from __future__ import annotations

import time
from typing import Any

from tessera import errors
from tessera.api.controller.v1 import access_pb2 as pb
from tessera.api.controller.v1 import access_pb2_grpc as pb_grpc
from tessera.controller.policy.records import IssuedToken, Tenant, Usage
from tessera.controller.runtime import Runtime
from tessera.controller.services import convert
from tessera.controller.store import access as store
from tessera.controller.store import audit as store_audit
from tessera.controller.store.usage import usage
from tessera.rpc.audit import AuditEntry
from tessera.rpc.identity import SERVICES, key_id
from tessera.rpc.pages import PageTokens, size_of
from tessera.rpc.principal import Principal, Role, current_principal

RANKS = (Role.VIEWER, Role.SUBMITTER, Role.ADMIN, Role.OPERATOR)
"""Roles of people: each may do what those before it may."""

TOKENS = PageTokens(of="tokens", position="[0-9a-z]{8,32}")
ENTRIES = PageTokens(of="audit", position="[0-9]{1,18}")


class AccessService(pb_grpc.AccessServiceServicer):
    """Who may use the platform."""

    def __init__(self, runtime: Runtime) -> None:
        self._database = runtime.database
        self._trust = runtime.trust
        self._ids = runtime.ids
        self._limits = runtime.config.limits

    async def CreateTenant(
        self, request: pb.CreateTenantRequest, context: Any
    ) -> pb.CreateTenantResponse:
        """Add a tenant."""
        del context
        tenant = await self._database.write(store.add_tenant, request.name)
        return pb.CreateTenantResponse(tenant=self._tenant(tenant, Usage()))

    async def ListTenants(
        self, request: pb.ListTenantsRequest, context: Any
    ) -> pb.ListTenantsResponse:
        """All of them for an operator, the caller's own for others."""
        del request, context
        caller = current_principal()
        found = await self._database.read(store.every_tenant)
        operates = caller.role is Role.OPERATOR
        seen = [one for one in found if operates or one.name == caller.tenant]
        used = await self._database.read(usage, None if operates else caller.tenant)
        return pb.ListTenantsResponse(
            tenants=[self._tenant(one, used.get(one.name, Usage())) for one in seen]
        )

    async def CreateToken(
        self, request: pb.CreateTokenRequest, context: Any
    ) -> pb.CreateTokenResponse:
        """Make a token."""
        del context
        caller = current_principal()
        role = Role(pb.TokenRole.Name(request.role).removeprefix("TOKEN_ROLE_").lower())
        if RANKS.index(role) > RANKS.index(caller.role):
            raise errors.PermissionDeniedError(
                f"role: {caller} may not make a token of role {role.value}", reason="ROLE_DENIED"
            )
        ttl, now = request.ttl.ToNanoseconds() / 1e9, time.time()
        made = IssuedToken(
            id=self._ids.token(),
            tenant=request.tenant or caller.tenant,
            role=role,
            subject=request.subject,
            audience=tuple(request.audience) or SERVICES,
            creator=caller.subject,
            create_time=now,
            expire_time=now + ttl,
        )
        await self._database.write(store.add_token, made)
        principal = Principal(subject=made.subject, role=role, tenant=made.tenant)
        secret = self._trust.issuer.issue(
            principal, ttl=ttl, audience=made.audience, token_id=made.id
        )
        return pb.CreateTokenResponse(secret=secret, token=_token_message(made))

    async def ListTokens(
        self, request: pb.ListTokensRequest, context: Any
    ) -> pb.ListTokensResponse:
        """A page of what is known of tokens."""
        del context
        size = size_of(request.page_size)
        found = await self._database.read(
            store.page_of_tokens,
            tenant=request.tenant or current_principal().tenant,
            before=TOKENS.decode(request.page_token),
            size=size + 1,
        )
        last = found[size - 1].id if len(found) > size else ""
        return pb.ListTokensResponse(
            tokens=[_token_message(one) for one in found[:size]],
            next_page_token=TOKENS.encode(last),
        )

    async def RevokeToken(
        self, request: pb.RevokeTokenRequest, context: Any
    ) -> pb.RevokeTokenResponse:
        """Believe a token no more."""
        del context
        tenant = request.tenant or current_principal().tenant
        token = await self._database.write(store.revoke_token, tenant, request.id)
        self._trust.revoke({token.id: token.expire_time})
        return pb.RevokeTokenResponse(token=_token_message(token))

    async def RotateKeys(
        self, request: pb.RotateKeysRequest, context: Any
    ) -> pb.RotateKeysResponse:
        """Make a new key."""
        del request, context
        due = self._trust.keys.rotate()
        self._trust.refresh()
        return pb.RotateKeysResponse(
            sign_time=convert.timestamp(due),
            keys=[key_id(key) for key in self._trust.keys.public],
        )

    async def ListAudit(self, request: pb.ListAuditRequest, context: Any) -> pb.ListAuditResponse:
        """A page of who did what."""
        del context
        size = size_of(request.page_size)
        found = await self._database.read(
            store_audit.page,
            tenant=request.tenant or current_principal().tenant,
            before=int(ENTRIES.decode(request.page_token) or 0),
            size=size + 1,
        )
        last = str(found[size - 1][0]) if len(found) > size else ""
        return pb.ListAuditResponse(
            entries=[_entry_message(entry) for _, entry in found[:size]],
            next_page_token=ENTRIES.encode(last),
        )

    def _tenant(self, value: Tenant, used: Usage) -> pb.Tenant:
        most = self._limits.of(value.name)
        return pb.Tenant(
            name=value.name,
            create_time=convert.timestamp(value.create_time),
            jobs=pb.QuotaUsage(used=used.jobs, limit=most.jobs),
            deployments=pb.QuotaUsage(used=used.deployments, limit=most.deployments),
            blob_bytes=pb.QuotaUsage(used=used.blob_bytes, limit=most.blob_bytes),
        )


def _entry_message(value: AuditEntry) -> pb.AuditEntry:
    return pb.AuditEntry(
        time=convert.timestamp(value.time),
        subject=value.subject,
        role=value.role,
        tenant=value.tenant,
        method=value.method,
        resource=value.resource,
        outcome=value.outcome,
    )


def _token_message(value: IssuedToken) -> pb.Token:
    return pb.Token(
        id=value.id,
        tenant=value.tenant,
        role=pb.TokenRole.Value(f"TOKEN_ROLE_{value.role.value.upper()}"),
        subject=value.subject,
        audience=value.audience,
        creator=value.creator,
        create_time=convert.timestamp(value.create_time),
        expire_time=convert.timestamp(value.expire_time),
        revoke_time=convert.timestamp(value.revoke_time),
    )
