"""TLS of Ray's own: the variables by which a cluster's processes are told of it.

Ray reads the files when a process starts, so the certificate lasts for as long as a cluster may.
"""

from __future__ import annotations

from pathlib import Path

from tessera.durable_file import PRIVATE, write_durably
from tessera.local.network import loopback
from tessera.rpc.tls.authority import CERTIFICATE, FOLDER, Authority, host_names

_SECONDS = 366 * 86_400.0
_CERTIFICATE, _KEY = "ray.crt", "ray.key"


def ray_tls(home: Path) -> dict[str, str]:
    """The environment of a cluster whose connections are encrypted, mutually.

    Args:
        home: whose authority signs; the certificate is made anew.
    """
    authority, folder = Authority.of(home), home / FOLDER
    identity = authority.identity(host_names([loopback()]), seconds=_SECONDS)
    write_durably(folder / _CERTIFICATE, identity.chain, mode=PRIVATE)
    write_durably(folder / _KEY, identity.key, mode=PRIVATE)
    return {
        "RAY_USE_TLS": "1",
        "RAY_TLS_SERVER_CERT": str(folder / _CERTIFICATE),
        "RAY_TLS_SERVER_KEY": str(folder / _KEY),
        "RAY_TLS_CA_CERT": str(folder / CERTIFICATE),
    }
