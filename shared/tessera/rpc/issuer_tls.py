"""How the certificate of an OIDC issuer is checked."""

from __future__ import annotations

import ssl

from tessera import errors
from tessera.rpc.policy.oidc import OidcConfig, TrustedIssuer


def check_authorities(config: OidcConfig) -> None:
    """See that every file of certificates is there.

    Raises:
        InvalidArgumentError: one cannot be read (INVALID_FIELD).
    """
    for index, issuer in enumerate(config.issuers):
        tls_context(issuer, f"issuers[{index}]")


def tls_context(issuer: TrustedIssuer, path: str = "issuer") -> ssl.SSLContext:
    """What checks an issuer's certificate.

    Args:
        issuer: whose.
        path: where it stands in the operator's file.

    Raises:
        InvalidArgumentError: its certificate authority cannot be read (INVALID_FIELD).
    """
    try:
        return ssl.create_default_context(cafile=issuer.certificate_authority or None)
    except (OSError, ValueError) as error:
        raise errors.InvalidArgumentError.at(
            f"{path}.certificate_authority",
            f"{issuer.certificate_authority} holds no certificates (PEM): {error}",
            "INVALID_FIELD",
        ) from None
