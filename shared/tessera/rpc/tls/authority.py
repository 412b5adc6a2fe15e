"""The platform's own certificate authority, in a folder of the home."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tessera.durable_file import PRIVATE, write_durably
from tessera.rpc.tls import certificates
from tessera.rpc.tls.certificates import PublicKey
from tessera.rpc.tls.identity import TlsIdentity

FOLDER = "tls"
"""In the home."""

CERTIFICATE, KEY = "ca.crt", "ca.key"
"""Its files."""

_DAYS = 3650.0


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs the certificates of every process of a platform.

    Args:
        key: PEM.
        certificate: PEM; nothing about it is secret.
    """

    key: bytes = field(repr=False)
    certificate: bytes

    @classmethod
    def of(cls, home: Path) -> Self:
        """The one of a home, made where there is none."""
        folder = home / FOLDER
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        paths = folder / KEY, folder / CERTIFICATE
        if not all(path.exists() for path in paths):
            made = certificates.new_authority("Tessera platform", days=_DAYS)
            for path, content in zip(paths, made, strict=True):
                write_durably(path, content, mode=PRIVATE)
        return cls(*(path.read_bytes() for path in paths))

    def sign(self, key: PublicKey, names: Iterable[str], *, seconds: float, server: bool) -> bytes:
        """A certificate, PEM; see `certificates.sign`."""
        return certificates.sign(
            (self.key, self.certificate), key, names, seconds=seconds, server=server
        )

    def identity(self, names: Iterable[str], *, seconds: float, server: bool = True) -> TlsIdentity:
        """A new key with its certificate."""
        key = certificates.new_key()
        chain = self.sign(certificates.public_key(key), names, seconds=seconds, server=server)
        return TlsIdentity(key=key, chain=chain, roots=self.certificate, seconds=seconds)


def host_names(hosts: Iterable[str]) -> list[str]:
    """What this machine is called at: itself, its name, and these hosts."""
    named = ["localhost", "127.0.0.1", "::1", socket.gethostname(), *hosts]
    return list(dict.fromkeys(name for name in named if _is_name(name)))


def _is_name(text: str) -> bool:
    """Whether a certificate can bear it; `0.0.0.0` means every address, and is none itself."""
    try:
        return not ipaddress.ip_address(text).is_unspecified
    except ValueError:
        return bool(text) and text.isascii() and "_" not in text
