"""Asks a server how it is to be spoken to, where gRPC's own words say too little."""

from __future__ import annotations

import contextlib
import socket
import ssl

from tessera import errors
from tessera.rpc.address import split
from tessera.rpc.tls import failure

_HUNG_UP = ("Socket closed", "Connection reset")

SECONDS = 2.0
"""For each of connection, handshake, and the server's first word."""


def check(address: str, roots: bytes) -> None:
    """Raise where a server cannot be spoken to with TLS; one that is not there raises nothing.

    Args:
        address: host:port; the certificate must bear this host.
        roots: whom to believe, PEM.

    Raises:
        UnavailableError: with a reason of `failure`.
    """
    host, _ = split(address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=roots.decode())
    # As gRPC has it: whoever is named is believed, be it no root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["h2"])
    with contextlib.suppress(OSError):
        try:
            with _connected(address) as plain, context.wrap_socket(plain, server_hostname=host):
                return
        except ssl.SSLError as error:
            if reason := failure.reason_of(str(error)):
                raise failure.tls_error(reason, address) from None


def speaks_tls(address: str) -> bool:
    """Whether a server answers a handshake, whoever it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with _connected(address) as plain, context.wrap_socket(plain):
            return True
    except (OSError, ValueError):
        return False


def explain(error: errors.TesseraError, address: str) -> errors.TesseraError:
    """A better error where a call in clear failed at a server that speaks TLS only."""
    # The server reads a first byte that is none of a handshake, and hangs up.
    if any(word in error.message for word in _HUNG_UP) and speaks_tls(address):
        return failure.tls_error(failure.EXPECTED, address)
    return error


def _connected(address: str) -> socket.socket:
    made = socket.create_connection(split(address), timeout=SECONDS)
    made.settimeout(SECONDS)
    return made
