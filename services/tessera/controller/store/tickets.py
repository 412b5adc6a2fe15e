"""One-time tickets; only their digests are stored."""

from __future__ import annotations

import hashlib
import secrets
import time

import sqlalchemy as sa

from tessera import errors
from tessera.controller.store import rows
from tessera.controller.store.schema import tickets
from tessera.rpc.principal import Principal

TTL = 120.0
"""Seconds: it is redeemed by the first act of a process that is started now."""


def issue(connection: sa.Connection, principal: Principal) -> str:
    """A new ticket for a principal."""
    ticket = secrets.token_hex(32)
    now = time.time()
    connection.execute(tickets.delete().where(tickets.c.expires < now))
    connection.execute(
        tickets.insert().values(
            digest=_digest(ticket), expires=now + TTL, **rows.columns(principal)
        )
    )
    return ticket


def redeem(connection: sa.Connection, ticket: str) -> Principal:
    """The principal of a ticket, which is used up.

    Raises:
        UnauthenticatedError: it is unknown, used or expired (TICKET_INVALID).
    """
    query = tickets.delete().where(tickets.c.digest == _digest(ticket)).returning(tickets)
    row = connection.execute(query).one_or_none()
    if row is None or row.expires < time.time():
        raise errors.UnauthenticatedError(
            "the ticket is unknown, used or expired", reason="TICKET_INVALID"
        )
    return rows.record(Principal, row)


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode()).digest()
