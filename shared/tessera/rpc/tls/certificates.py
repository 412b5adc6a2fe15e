"""Certificates as PEM: an authority, what it signs, and requests for it. Pure.

Keys are ECDSA on P-256: small, fast, and known to every TLS library.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tessera import errors

SKEW = timedelta(minutes=5)
"""A certificate is valid from so long ago: clocks of machines differ."""

_SHOWN = 64
"""Characters of a common name, at most (X.520)."""

PublicKey = ec.EllipticCurvePublicKey


def new_key() -> bytes:
    """A private key, PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def public_key(key: bytes) -> PublicKey:
    """The public half of a private key."""
    return _private(key).public_key()


def new_request(key: bytes) -> bytes:
    """A request (CSR, PEM) that proves to have the key; it asks for no name."""
    empty = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return empty.sign(_private(key), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def requested_key(request: bytes) -> PublicKey:
    """The key that a request proves to have; whatever else it asks for is not looked at.

    Raises:
        InvalidArgumentError: it is none, is not signed by its key, or that is not on P-256
            (CERTIFICATE_REQUEST_INVALID).
    """
    try:
        asked = x509.load_pem_x509_csr(request)
        key, proved = asked.public_key(), asked.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        key, proved = None, False
    if isinstance(key, PublicKey) and isinstance(key.curve, ec.SECP256R1) and proved:
        return key
    raise errors.InvalidArgumentError.at(
        "request",
        "it must be a certificate request (PEM) for a key on P-256, signed by that key",
        "CERTIFICATE_REQUEST_INVALID",
    )


def new_authority(name: str, *, days: float) -> tuple[bytes, bytes]:
    """A private key and the certificate of an authority that signs itself, both PEM.

    Args:
        name: that people read.
        days: how long it is valid.
    """
    key = new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    mine = public_key(key)
    made = (
        _begun(subject, subject, mine, timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(mine), critical=False)
    )
    return key, _signed(made, key)


def sign(
    authority: tuple[bytes, bytes],
    key: PublicKey,
    names: Iterable[str],
    *,
    seconds: float,
    server: bool,
) -> bytes:
    """A certificate, PEM.

    Args:
        authority: its private key and its certificate, PEM.
        key: that is certified.
        names: DNS names and addresses, of which there is one at least.
        seconds: how long it is valid.
        server: whether its owner may be called; everybody may call.
    """
    issuer = x509.load_pem_x509_certificate(authority[1])
    named = list(names)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, named[0][:_SHOWN])])
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] * server)]
    signer: Any = issuer.public_key()
    made = (
        _begun(subject, issuer.subject, key, timedelta(seconds=seconds))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.SubjectAlternativeName(map(_name, named)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )
    return _signed(made, authority[0])


def check_pair(key: bytes, chain: bytes) -> datetime:
    """Make sure that a private key and a chain of certificates belong together.

    Returns:
        When the certificate expires.

    Raises:
        ValueError: they do not, or are none; the text says which.
    """
    try:
        private: Any = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError) as error:
        raise ValueError(f"the private key cannot be read: {error}") from None
    try:
        first = x509.load_pem_x509_certificates(chain)[0]
    except (ValueError, IndexError) as error:
        raise ValueError(f"the certificate cannot be read: {error}") from None
    if _encoded(private.public_key()) != _encoded(first.public_key()):
        raise ValueError("the private key is not the certificate's")
    return first.not_valid_after_utc


def check_roots(roots: bytes) -> None:
    """Make sure that these are certificates.

    Raises:
        ValueError: they are not.
    """
    if not x509.load_pem_x509_certificates(roots):
        raise ValueError("there is no certificate in it")


def _begun(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, valid: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + valid)
    )


def _signed(made: x509.CertificateBuilder, key: bytes) -> bytes:
    return made.sign(_private(key), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _private(key: bytes) -> ec.EllipticCurvePrivateKey:
    loaded = serialization.load_pem_private_key(key, password=None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    return loaded


def _encoded(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
