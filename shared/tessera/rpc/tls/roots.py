"""Whom a person believes to be the controller: a file of certificates."""

from __future__ import annotations

from pathlib import Path

from tessera import errors
from tessera.rpc.tls import certificates


def read_roots(file: str | Path) -> bytes:
    """The certificates of a file, PEM.

    Raises:
        FailedPreconditionError: there are none (CA_UNUSABLE).
    """
    try:
        roots = Path(file).expanduser().read_bytes()
        certificates.check_roots(roots)
    except (OSError, ValueError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else "there is no certificate in it"
        raise errors.FailedPreconditionError(
            f"{file} cannot be used as the controller's ca.crt: {why}", reason="CA_UNUSABLE"
        ) from None
    return roots
