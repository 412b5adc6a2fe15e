"""Calls to the controller: token, deadline, patience with one that restarts, Tessera's errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jwt

from tessera import errors
from tessera.client.home import Access
from tessera.rpc.calls import under_way
from tessera.rpc.channel import DEFAULT_SECONDS, bearer, channel, mapped_errors
from tessera.rpc.credentials import shown
from tessera.rpc.limits import refused_at_door
from tessera.rpc.retry import Retry
from tessera.rpc.tls import failure, probe
from tessera.rpc.token import tls_of

T = TypeVar("T")

PATIENCE_SECONDS = 5.0
"""How long a call waits for a controller that does not answer."""

STREAM_PATIENCE_SECONDS = 60.0
"""How long a stream that has worked waits for its controller to come back."""

DEFAULT_TENANT = "default"


class Connection:
    """One channel to a controller. Thread-safe.

    Args:
        access: address, token, and whom to believe.
        patience: seconds to wait for a controller that does not answer.
    """

    def __init__(self, access: Access, *, patience: float = PATIENCE_SECONDS) -> None:
        self.address = access.address
        self.token = shown(access.address, access.token, access.roots)
        self._tls, self._checked = tls_of(self.token), False
        self.channel = channel(access.address, self._tls)
        self._patience = patience

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What a call that is made now carries."""
        return bearer(self.token)

    @property
    def tenant(self) -> str:
        """The tenant that the token belongs to."""
        token = self.token if isinstance(self.token, str) else self.token.token
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            return DEFAULT_TENANT
        return str(claims.get("tenant") or DEFAULT_TENANT)

    def call(
        self, method: Callable[..., T], request: Any, *, seconds: float = DEFAULT_SECONDS
    ) -> T:
        """One unary call that may be repeated: reading, or with an idempotency key.

        Raises:
            UnavailableError: CONTROLLER_UNREACHABLE, after `patience`.
            TesseraError: whatever the controller says.
        """
        self._check()
        retry = Retry(self._patience)
        while True:
            try:
                with mapped_errors():
                    return method(request, metadata=self.metadata, timeout=seconds)
            except errors.UnavailableError as error:
                told = self._explained(error)
                if failure.is_tls(told) or not retry.again():
                    raise self.unreachable(told) from None
            except errors.ResourceExhaustedError as error:
                if not (refused_at_door(error) and retry.again()):
                    raise

    def stream(
        self,
        open_call: Callable[[], Any],
        *,
        patience: float = STREAM_PATIENCE_SECONDS,
    ) -> Iterator[Any]:
        """The messages of a stream that is opened again wherever the controller goes away.

        Args:
            open_call: starts the call, from where the messages so far have come to.
            patience: seconds without a message until a lost controller is given up.
        """
        self._check()
        retry = Retry(patience, first=0.2, from_failure=True)
        while True:
            try:
                with mapped_errors(), under_way(open_call) as call:
                    for message in call:
                        retry.succeeded()
                        yield message
                    return
            except (errors.UnavailableError, errors.CancelledError) as error:
                told = self._explained(error)
                if failure.is_tls(told) or not retry.again():
                    raise self.unreachable(told) from None
            except errors.ResourceExhaustedError as error:
                if not (refused_at_door(error) and retry.again()):
                    raise

    def unreachable(self, error: errors.TesseraError) -> errors.TesseraError:
        """What a call that nobody answered means; a reason that the server gave is kept."""
        if error.reason != errors.UnavailableError.reason:
            return error
        return errors.UnavailableError(
            f"no controller answers at {self.address}", reason="CONTROLLER_UNREACHABLE"
        )

    def close(self) -> None:
        """Close the channel."""
        self.channel.close()

    def _check(self) -> None:
        """Before the first call: gRPC would print to a terminal what is wrong with a handshake."""
        if self._tls is not None and not self._checked:
            probe.check(self.address, self._tls.controller_roots)
            self._checked = True

    def _explained(self, error: errors.TesseraError) -> errors.TesseraError:
        return probe.explain(error, self.address) if self._tls is None else error
