"""Ports and addresses of this machine."""

from __future__ import annotations

import errno
import socket
from functools import cache

from tessera.rpc.address import split


@cache
def loopback() -> str:
    """The address by which this machine's processes reach one another: `127.0.0.1`, else `::1`."""
    for host in ("127.0.0.1", "::1"):
        try:
            with _probe(host) as probe:
                probe.bind((host, 0))
        except OSError as error:
            if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                raise
        else:
            return host
    return "127.0.0.1"


def free_port(host: str = "") -> int:
    """A TCP port that nobody listens on now; of the loopback interface where no host is named."""
    host = host or loopback()
    with _probe(host) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with _probe(host) as probe:
        # As servers do: a port whose last connections are still winding down is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def listens(address: str, seconds: float = 1.0) -> bool:
    """Whether somebody accepts connections at host:port."""
    try:
        with socket.create_connection(split(address), timeout=seconds):
            return True
    except (OSError, ValueError):
        return False


def address_towards(peer: str) -> str:
    """The address of this machine that `peer` (host:port) reaches it by.

    Raises:
        OSError: it has no address.
        ValueError: that is no host:port.
    """
    family, kind, _, _, place = socket.getaddrinfo(*split(peer), type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(place)  # Of a datagram socket: sends nothing.
        return str(probe.getsockname()[0])


def _probe(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
