"""A certificate that others make and renew: the files of a `kubernetes.io/tls` secret."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import structlog

from tessera import errors
from tessera.rpc.tls import certificates
from tessera.rpc.tls.identity import TlsIdentity

log = structlog.get_logger()

CERTIFICATE, KEY, ROOTS = "tls.crt", "tls.key", "ca.crt"
"""As cert-manager names them."""

FOREVER = float("inf")


class GivenCertificate:
    """What is in a folder now, read again when its files change. Thread-safe.

    Args:
        folder: holds `tls.crt`, `tls.key` and `ca.crt`.

    Raises:
        FailedPreconditionError: one of them cannot be read, or they do not belong together
            (TLS_FILES_UNUSABLE).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._refused: object = None
        self._stamp = self._look()
        try:
            self._identity = self._read()
        except (OSError, ValueError) as error:
            raise errors.FailedPreconditionError(
                f"{folder}: {CERTIFICATE}, {KEY} and {ROOTS} of it cannot be used: {error}",
                reason="TLS_FILES_UNUSABLE",
            ) from None

    def __call__(self) -> TlsIdentity:
        """The pair of now; while the files are half written, that of before."""
        stamp = self._look()
        if stamp not in (self._stamp, self._refused):
            with self._lock:
                self._take(stamp)
        return self._identity

    @property
    def roots(self) -> bytes:
        """Whom callers are to believe, PEM."""
        return self().roots

    def _take(self, stamp: object) -> None:
        try:
            self._identity, self._stamp = self._read(), stamp
            log.info("the certificate was read again", folder=str(self._folder))
        except (OSError, ValueError) as error:
            # They are written one after the other: soon they are others again.
            self._refused = stamp
            log.warning("the certificate of before stays", error=str(error))

    def _look(self) -> object:
        """Changes when the files do, be it that a link leads elsewhere."""
        try:
            found = [(self._folder / name).stat() for name in (CERTIFICATE, KEY, ROOTS)]
        except OSError:
            return None
        return [(each.st_ino, each.st_mtime_ns, each.st_size) for each in found]

    def _read(self) -> TlsIdentity:
        chain, key, roots = ((self._folder / n).read_bytes() for n in (CERTIFICATE, KEY, ROOTS))
        expires = certificates.check_pair(key, chain)
        certificates.check_roots(roots)
        if expires.timestamp() < time.time():
            log.warning("the certificate has expired", expired=expires.isoformat())
        return TlsIdentity(key=key, chain=chain, roots=roots, seconds=FOREVER)
