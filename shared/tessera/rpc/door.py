"""The door of a server: who may come in is seen before anything that was sent is read. No gRPC."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError, Message

from tessera import errors, validation
from tessera.rpc.audit import Audit, Refusals, changes, entry_of
from tessera.rpc.identity import Verifier
from tessera.rpc.policy.rule import Owner, Rule, check_caller, check_resources
from tessera.rpc.policy.table import TABLE
from tessera.rpc.principal import ANONYMOUS, Principal

PLUMBING = ("/grpc.health.v1.", "/grpc.reflection.")
"""What gRPC's own services are called by: they have no rows, and everybody may call them."""

Metadata = Iterable[tuple[str, str | bytes]]


class Door:
    """Holds a server's calls to the table.

    Args:
        verifier: of tokens.
        owner: whose the server is; None: the platform's.
        table: rules by method; other tables are for tests of services of their own.
        audit: is told who changed what, or was refused to; None: nobody is.
    """

    def __init__(
        self,
        verifier: Verifier,
        *,
        owner: Owner | None = None,
        table: Mapping[str, Rule] = TABLE,
        audit: Audit | None = None,
    ) -> None:
        self._verifier = verifier
        self._owner = owner
        self._table = table
        self._audit = audit
        self._refusals = Refusals()

    def cover(self, services: Iterable[str]) -> None:
        """Make sure that every method of these services has a row.

        Raises:
            KeyError: one has none, so that nobody could call it.
        """
        for method in methods_of(services):
            if method not in self._table:
                raise KeyError(f"{method} has no row in tessera.rpc.policy.table")

    def identify(self, method: str, metadata: Metadata) -> Principal:
        """Who calls, by the metadata alone.

        Raises:
            UnauthenticatedError: there is no valid token.
        """
        rule = self._table.get(method)
        if method.startswith(PLUMBING) or (rule is not None and rule.public):
            return ANONYMOUS
        return self._verifier.authenticate(metadata)

    def admit(self, method: str, caller: Principal) -> None:
        """Let a caller in.

        Raises:
            PermissionDeniedError: it may not call this, or not here.
        """
        if not method.startswith(PLUMBING):
            check_caller(self._table.get(method), method, caller, self._owner)

    async def remember(self, method: str, caller: Principal, request: Any, outcome: str) -> None:
        """Tell the audit of a call, if it is one that changes something; of many refusals, a few.

        Args:
            method: of the call.
            caller: who called.
            request: parsed; None: it was not read.
            outcome: `OK`, or the reason of the refusal.
        """
        rule = self._table.get(method)
        if self._audit is None or rule is None or not rule.of_people or not changes(method):
            return
        if outcome == "OK" or self._refusals.kept(caller, method, outcome):
            await self._audit(entry_of(caller, method, request, outcome))

    def read(
        self, method: str, caller: Principal, raw: bytes, parse: Callable[[bytes], Any]
    ) -> Any:
        """What a caller sent, parsed and found to be within the limits and the caller's own.

        Raises:
            InvalidArgumentError: it is no such message (MALFORMED_MESSAGE), or breaks a limit.
            PermissionDeniedError: it names what is another's.
        """
        try:
            request = parse(raw)
        except DecodeError:
            raise errors.InvalidArgumentError(
                f"these {len(raw)} bytes are no request of {method.rpartition('/')[2]}",
                reason="MALFORMED_MESSAGE",
            ) from None
        assert isinstance(request, Message)
        if method.startswith(PLUMBING):
            return request
        validation.check(request)
        check_resources(self._table[method], caller, request)
        return request


def methods_of(services: Iterable[str]) -> list[str]:
    """Every `/package.Service/Method` of services that are named in full."""
    find = descriptor_pool.Default().FindServiceByName
    return [f"/{name}/{method.name}" for name in services for method in find(name).methods]
