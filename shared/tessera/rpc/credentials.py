"""A workload's token, renewed for as long as the workload stands."""

from __future__ import annotations

import threading
import time
from typing import Any

import jwt
import structlog

from tessera import errors
from tessera.api.controller.v1 import registry_pb2 as pb
from tessera.api.controller.v1 import registry_pb2_grpc as pb_grpc
from tessera.rpc.channel import channel, mapped_errors

log = structlog.get_logger()

RENEW_SECONDS = 10.0
"""Deadline of a renewal."""

PAUSE_SECONDS = 10.0
"""Between one renewal that failed and the next."""


class Credentials:
    """What a process shows: always a token that is valid. Thread-safe; it may be pickled.

    Beyond half of a token's time the next one is fetched beside; nobody waits for it, unless the
    token has expired, as where a process comes back after hours with the token of its first life.

    Args:
        controller: host:port of the controller, which renews.
        token: the first.
    """

    def __init__(self, controller: str, token: str) -> None:
        self._controller = controller
        self._lock = threading.Lock()
        self._due = 0.0
        self._take(token)

    def __reduce__(self) -> tuple[Any, ...]:
        return Credentials, (self._controller, self._token)

    def __repr__(self) -> str:
        return f"Credentials({self._controller!r}, '…')"

    @property
    def token(self) -> str:
        """The token of now."""
        now = time.time()
        if now >= self._expires:
            with self._lock:
                if now >= self._expires:
                    self._renew()
        elif now >= self._due and self._lock.acquire(blocking=False):
            self._due = now + PAUSE_SECONDS
            threading.Thread(target=self._beside, name="credentials", daemon=True).start()
        return self._token

    def _beside(self) -> None:
        try:
            self._renew()
        finally:
            self._lock.release()

    def _renew(self) -> None:
        try:
            with channel(self._controller) as connection, mapped_errors():
                stub = pb_grpc.IdentityServiceStub(connection)
                request = pb.RenewTokenRequest(token=self._token)
                self._take(stub.RenewToken(request, timeout=RENEW_SECONDS).token)
        except errors.TesseraError as error:
            self._due = time.time() + PAUSE_SECONDS
            log.info("the token is not renewed", reason=error.reason, message=error.message)

    def _take(self, token: str) -> None:
        claims = jwt.decode(token, options={"verify_signature": False})
        issued, expires = float(claims["iat"]), float(claims.get("exp", "inf"))
        self._token, self._expires = token, expires
        self._due = issued + (expires - issued) / 2
