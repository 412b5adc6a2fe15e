"""Tenants, and tokens of people and programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any

from google.protobuf import duration_pb2

from tessera.api.controller.v1 import access_pb2 as pb
from tessera.api.controller.v1.access_pb2_grpc import AccessServiceStub
from tessera.client.connection import Connection
from tessera.rpc.pages import every_page


class AccessControl:
    """Says who may use the platform; for admins of a tenant, and operators.

    Args:
        connection: to the controller.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub: Any = AccessServiceStub(connection.channel)

    def tenants(self) -> list[pb.Tenant]:
        """All tenants for an operator; one's own for anybody else."""
        return list(self._connection.call(self._stub.ListTenants, pb.ListTenantsRequest()).tenants)

    def create_tenant(self, name: str) -> pb.Tenant:
        """Add a tenant; one that is there stays as it is.

        Raises:
            PermissionDeniedError: the caller is no operator (ROLE_DENIED).
        """
        request = pb.CreateTenantRequest(name=name)
        made: pb.Tenant = self._connection.call(self._stub.CreateTenant, request).tenant
        return made

    def create_token(
        self,
        subject: str,
        role: str,
        ttl: timedelta,
        *,
        tenant: str = "",
        audience: Sequence[str] = (),
    ) -> tuple[str, pb.Token]:
        """A new token, which nobody can show again, and what is known of it.

        Args:
            subject: whose it is.
            role: viewer, submitter, admin or operator; no more than the caller's own.
            ttl: how long it is valid: a minute to a year.
            tenant: that it acts in; empty: the caller's.
            audience: services that it may be shown to; none: all.

        Raises:
            PermissionDeniedError: ROLE_DENIED, OTHER_TENANT.
            NotFoundError: TENANT_NOT_FOUND.
        """
        duration = duration_pb2.Duration()
        duration.FromTimedelta(ttl)
        request = pb.CreateTokenRequest(
            subject=subject,
            role=pb.TokenRole.Value(f"TOKEN_ROLE_{role.upper()}"),
            ttl=duration,
            tenant=tenant,
            audience=audience,
        )
        reply = self._connection.call(self._stub.CreateToken, request)
        return reply.secret, reply.token

    def tokens(self, tenant: str = "") -> list[pb.Token]:
        """What is known of a tenant's tokens, newest first; empty: the caller's."""
        request = pb.ListTokensRequest(tenant=tenant, page_size=500)
        pages = every_page(partial(self._connection.call, self._stub.ListTokens), request)
        return [token for page in pages for token in page.tokens]

    def revoke_token(self, token_id: str, tenant: str = "") -> pb.Token:
        """Make a token worthless; everywhere within a heartbeat.

        Raises:
            NotFoundError: the tenant has none of this id (TOKEN_NOT_FOUND).
        """
        request = pb.RevokeTokenRequest(tenant=tenant, id=token_id)
        revoked: pb.Token = self._connection.call(self._stub.RevokeToken, request).token
        return revoked

    def audit(self, tenant: str = "", *, limit: int = 0) -> Iterator[pb.AuditEntry]:
        """Who did what in a tenant, newest first; empty: the caller's tenant.

        Args:
            tenant: its name.
            limit: at most so many; 0: all.
        """
        request = pb.ListAuditRequest(tenant=tenant, page_size=min(limit or 500, 500))
        pages = every_page(partial(self._connection.call, self._stub.ListAudit), request)
        yield from islice((entry for page in pages for entry in page.entries), limit or None)

    def rotate_keys(self) -> pb.RotateKeysResponse:
        """Make a new key, which signs as soon as every server knows it.

        Raises:
            FailedPreconditionError: one is on its way already (ROTATION_UNDER_WAY).
        """
        reply: pb.RotateKeysResponse = self._connection.call(
            self._stub.RotateKeys, pb.RotateKeysRequest()
        )
        return reply
