"""Tokens that are other ones later: a workload's is renewed, an issuer's is exchanged again."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import jwt
import structlog

from tessera import errors
from tessera.api.controller.v1 import registry_pb2 as pb
from tessera.api.controller.v1 import registry_pb2_grpc as pb_grpc
from tessera.rpc.channel import bearer, channel, mapped_errors
from tessera.rpc.tls import certificates
from tessera.rpc.tls.identity import Tls, TlsIdentity
from tessera.rpc.token import EncryptedToken, Token

log = structlog.get_logger()

RENEW_SECONDS = 10.0
"""Deadline of a renewal."""

PAUSE_SECONDS = 10.0
"""Between one renewal that failed and the next."""


class RenewedToken:
    """What a process shows: always a token that is valid. Thread-safe.

    Beyond half of a token's time the next one is fetched beside; nobody waits for it, unless the
    token has expired, as where a process comes back after hours with the token of its first life.

    Args:
        controller: host:port of the controller, which gives the next.
        roots: whom to believe to be the controller, PEM; empty: nothing is encrypted. With them it
            also has a certificate, which is another one with each token.
    """

    def __init__(self, controller: str, roots: bytes = b"") -> None:
        self._controller = controller
        self._roots = roots
        self.tls = Tls(roots, self._certify, renews=False) if roots else None
        self._lock = threading.Lock()
        self._token = ""
        self._due = self._expires = 0.0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._controller!r}, '…')"

    @property
    def token(self) -> str:
        """The token of now."""
        now = time.time()
        if now >= self._expires and self._may_wait():
            with self._lock:
                if now >= self._expires:
                    self._renew()
        elif now >= self._due and self._lock.acquire(blocking=False):
            self._due = now + PAUSE_SECONDS
            threading.Thread(target=self._beside, name="credentials", daemon=True).start()
        return self._token

    def _next(self, stub: Any) -> str:
        """Ask for the next token."""
        raise NotImplementedError

    def _may_wait(self) -> bool:
        """Whether whoever asks for a token that has expired waits here for the next."""
        return True

    def _beside(self) -> None:
        try:
            self._try()
        finally:
            self._lock.release()

    def _renew(self) -> None:
        """Take the next token, as there is none that is valid."""
        with channel(self._controller, self.tls) as connection, mapped_errors():
            self._take(self._next(pb_grpc.IdentityServiceStub(connection)))
        if self.tls is not None and self.tls.used:
            self.tls.adopt(request_identity(self._controller, self.tls, self._token))

    def _try(self) -> None:
        """Take the next token, or go on with the one that is there."""
        try:
            RenewedToken._renew(self)
        except errors.TesseraError as error:
            self._due = time.time() + PAUSE_SECONDS
            log.info("the token is not renewed", reason=error.reason, message=error.message)

    def _certify(self) -> TlsIdentity:
        assert self.tls is not None
        return request_identity(self._controller, self.tls, self.token)

    def _take(self, token: str) -> None:
        claims = jwt.decode(token, options={"verify_signature": False})
        issued, expires = float(claims["iat"]), float(claims.get("exp", "inf"))
        self._token, self._expires = token, expires
        self._due = issued + (expires - issued) / 2


class Credentials(RenewedToken):
    """A workload's token, renewed for as long as the workload stands. It may be pickled.

    One that cannot be renewed is shown all the same: its refusal says why. An event loop does not
    wait for one: it shows the old one, and another one a moment later; `settle` waits beside it.

    Args:
        controller: host:port of the controller, which renews.
        token: the first.
        roots: whom to believe to be the controller, PEM; empty: nothing is encrypted.
    """

    def __init__(self, controller: str, token: str, roots: bytes = b"") -> None:
        super().__init__(controller, roots)
        self._take(token)

    def __reduce__(self) -> tuple[Any, ...]:
        return Credentials, (self._controller, self._token, self._roots)

    def _next(self, stub: Any) -> str:
        request = pb.RenewTokenRequest(token=self._token)
        return str(stub.RenewToken(request, timeout=RENEW_SECONDS).token)

    def _may_wait(self) -> bool:
        return not _on_a_loop()

    def _renew(self) -> None:
        self._try()


class OidcCredentials(RenewedToken):
    """A token for one of an OIDC issuer's, exchanged again and again.

    `token` raises what the controller says where it gives none: an issuer that it does not believe,
    claims that it has no rule for, or that it is not there.

    Args:
        controller: host:port of the controller, which exchanges.
        source: gives the issuer's token of now; asked before each exchange.
        roots: whom to believe to be the controller, PEM; empty: nothing is encrypted.
    """

    def __init__(self, controller: str, source: Callable[[], str], roots: bytes = b"") -> None:
        super().__init__(controller, roots)
        self._source = source

    def _next(self, stub: Any) -> str:
        request = pb.ExchangeOidcTokenRequest(token=self._source())
        return str(stub.ExchangeOidcToken(request, timeout=RENEW_SECONDS).token)


def shown(controller: str, token: Token, roots: bytes) -> Token:
    """What the bearer of a token shows, encrypted where there is somebody to believe.

    Its certificate is the controller's word for what the token says; its key is in memory alone.

    Args:
        controller: host:port.
        token: that it has; one that is another one later knows how others are reached.
        roots: whom to believe to be the controller, PEM; empty: it is called in clear.
    """
    if not roots or not isinstance(token, str):
        return token
    tls = Tls(roots, lambda: request_identity(controller, tls, token))
    return EncryptedToken(token, tls)


def request_identity(controller: str, tls: Tls, token: str) -> TlsIdentity:
    """A new key, and what the controller certifies of whoever shows the token.

    The key stays in this process.

    Args:
        controller: host:port.
        tls: how the controller is reached.
        token: valid.

    Raises:
        TesseraError: the controller does not answer, or refuses.
    """
    key = certificates.new_key()
    request = pb.IssueCertificateRequest(request=certificates.new_request(key))
    with channel(controller, tls) as connection, mapped_errors():
        stub = pb_grpc.IdentityServiceStub(connection)
        reply = stub.IssueCertificate(request, metadata=bearer(token), timeout=RENEW_SECONDS)
    return TlsIdentity(
        key=key,
        chain=reply.certificate,
        roots=reply.authority,
        seconds=reply.lifetime.ToTimedelta().total_seconds(),
    )


async def settle(token: Token) -> None:
    """Wait, beside the event loop, until a token is valid again if it can be."""
    if isinstance(token, Credentials):
        await asyncio.to_thread(getattr, token, "token")


def _on_a_loop() -> bool:
    """Whether this thread runs an event loop, which must not wait."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
