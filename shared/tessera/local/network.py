"""Ports and addresses of this machine."""

from __future__ import annotations

import socket
from functools import cache

import psutil

from tessera import errors
from tessera.rpc.address import join, split


@cache
def loopback() -> str:
    """The address by which this machine's processes reach one another: `127.0.0.1`, or `::1`.

    It is `::1` where no interface has an IPv4 address and `localhost` means `::1`. That is how Ray
    tells (`get_localhost_ip`, 2.60), and it turns the one into the other whatever it is told.

    Raises:
        FailedPreconditionError: NO_LOOPBACK: the machine does not have the address that Ray takes.
    """
    new_alone = not _resolves(socket.AF_INET) and _resolves(socket.AF_INET6)
    address = "::1" if new_alone else "127.0.0.1"
    if not _reaches_itself(address):
        raise errors.FailedPreconditionError(
            f"Ray would listen at {address}, where nothing on this machine can be reached; "
            "`ip link set lo up` brings 127.0.0.1. Without any IPv4, Ray listens at ::1 where an "
            "interface has an IPv6 address and /etc/hosts says `::1 localhost`",
            reason="NO_LOOPBACK",
        )
    return address


def loopback_interface() -> str:
    """Name of the interface that has the address of `loopback`; empty: the system does not tell."""
    for name, addresses in psutil.net_if_addrs().items():
        if loopback() in {each.address for each in addresses}:
            return name
    return ""


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


def _resolves(family: socket.AddressFamily) -> bool:
    """Whether `localhost` has an address of a family that the machine uses at all."""
    kind, flags = socket.SOCK_STREAM, socket.AI_ADDRCONFIG
    try:
        return bool(socket.getaddrinfo("localhost", None, family, kind, flags=flags))
    except OSError:
        return False


def _reaches_itself(host: str) -> bool:
    """Whether a server can listen there and be reached; where `lo` is down it can only listen."""
    try:
        with _probe(host) as server:
            server.bind((host, 0))
            server.listen()
            return listens(join(host, server.getsockname()[1]))
    except OSError:
        return False


def _probe(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
