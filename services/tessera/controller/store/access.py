"""Tenants, and what is known of the tokens of people and programs."""

from __future__ import annotations

import time

import sqlalchemy as sa

from tessera import errors
from tessera.controller.policy.records import IssuedToken, Tenant
from tessera.controller.store import rows
from tessera.controller.store.schema import tenants, tokens


def add_tenant(connection: sa.Connection, name: str) -> Tenant:
    """A new tenant; one that is there stays as it is."""
    row = connection.execute(sa.select(tenants).where(tenants.c.name == name)).one_or_none()
    if row is None:
        new = Tenant(name=name, create_time=time.time())
        connection.execute(tenants.insert().values(**rows.columns(new)))
        return new
    return rows.record(Tenant, row)


def every_tenant(connection: sa.Connection) -> list[Tenant]:
    """All tenants, by name."""
    query = sa.select(tenants).order_by(tenants.c.name)
    return [rows.record(Tenant, row) for row in connection.execute(query)]


def add_token(connection: sa.Connection, new: IssuedToken) -> None:
    """Remember a token that is handed out.

    Raises:
        NotFoundError: there is no such tenant (TENANT_NOT_FOUND).
    """
    query = sa.select(tenants.c.name).where(tenants.c.name == new.tenant)
    if connection.execute(query).one_or_none() is None:
        raise errors.NotFoundError(
            f"tenant: there is no tenant '{new.tenant}'; `tessera tenants create` adds one",
            reason="TENANT_NOT_FOUND",
            violations=[errors.Violation("tenant", "there is none of this name")],
        )
    connection.execute(tokens.insert().values(**rows.columns(new)))


def forget_expired(connection: sa.Connection, creator: str) -> None:
    """Drop what is known of tokens that somebody made and that have expired."""
    expired = (tokens.c.creator == creator) & (tokens.c.expire_time < time.time())
    connection.execute(tokens.delete().where(expired))


def page_of_tokens(
    connection: sa.Connection, *, tenant: str, before: str, size: int
) -> list[IssuedToken]:
    """At most `size` tokens of a tenant, newest first, before an id; empty: the newest."""
    query = sa.select(tokens).where(tokens.c.tenant == tenant)
    if before:
        query = query.where(tokens.c.id < before)
    query = query.order_by(tokens.c.id.desc()).limit(size)
    return [rows.record(IssuedToken, row) for row in connection.execute(query)]


def revoke_token(connection: sa.Connection, tenant: str, token_id: str) -> IssuedToken:
    """Mark a token; one that is marked stays as it is.

    Raises:
        NotFoundError: the tenant has none of this id (TOKEN_NOT_FOUND).
    """
    which = (tokens.c.tenant == tenant) & (tokens.c.id == token_id)
    unmarked = which & tokens.c.revoke_time.is_(None)
    connection.execute(tokens.update().where(unmarked).values(revoke_time=time.time()))
    row = connection.execute(sa.select(tokens).where(which)).one_or_none()
    if row is None:
        raise errors.NotFoundError(
            f"tenant {tenant} has no token {token_id}; `tessera token list` shows them",
            reason="TOKEN_NOT_FOUND",
        )
    return rows.record(IssuedToken, row)


def revoked(connection: sa.Connection) -> dict[str, float]:
    """Tokens that were revoked and would otherwise be valid: ids, and when they expire."""
    query = sa.select(tokens.c.id, tokens.c.expire_time).where(
        tokens.c.revoke_time.is_not(None), tokens.c.expire_time > time.time()
    )
    return {row.id: row.expire_time for row in connection.execute(query)}
