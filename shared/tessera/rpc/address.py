"""Addresses `host:port`; a host of IPv6 stands in brackets, as in a URL. Pure."""

from __future__ import annotations


def join(host: str, port: int) -> str:
    """`127.0.0.1:80`, `[::1]:80`."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def split(address: str) -> tuple[str, int]:
    """Host, without brackets, and port.

    Raises:
        ValueError: it is no such address.
    """
    host, _, port = address.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or not (port.isascii() and port.isdecimal()) or (":" in bare and bare == host):
        raise ValueError(f"`{address}` is not HOST:PORT; a host of IPv6 stands in brackets")
    return bare, int(port)
