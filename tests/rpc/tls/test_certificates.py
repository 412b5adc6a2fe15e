"""Certificates: what an authority says, what a request proves, and which files belong together."""

from __future__ import annotations

import base64
import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store
from tls_servers import authority

from tessera import errors
from tessera.rpc.tls import certificates
from tessera.rpc.tls.authority import CERTIFICATE, FOLDER, KEY, Authority, host_names

PEM = serialization.Encoding.PEM


def loaded(chain: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(chain)


def test_a_strict_verifier_accepts_what_the_authority_signs():
    ours = authority()
    made = ours.identity(["a.example", "127.0.0.1"], seconds=60)
    store = Store([loaded(ours.certificate)])
    verifier = PolicyBuilder().store(store).build_server_verifier(x509.DNSName("a.example"))
    assert len(verifier.verify(loaded(made.chain), [])) == 2
    PolicyBuilder().store(store).build_client_verifier().verify(loaded(made.chain), [])


def test_who_only_calls_has_no_certificate_of_a_server():
    made = loaded(authority().identity(["a.example"], seconds=60, server=False).chain)
    uses = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_certificate_lasts_as_long_as_it_was_asked_to():
    made = loaded(authority().identity(["a.example"], seconds=60).chain)
    now = datetime.now(UTC)
    assert now < made.not_valid_after_utc <= now + timedelta(seconds=60)
    assert made.not_valid_before_utc <= now - certificates.SKEW


def test_a_request_proves_its_key_and_asks_for_nothing():
    key = certificates.new_key()
    request = certificates.new_request(key)
    found = certificates.requested_key(request)
    assert found.public_numbers() == certificates.public_key(key).public_numbers()
    assert not list(x509.load_pem_x509_csr(request).extensions)


def csr(key, algorithm: hashes.HashAlgorithm | None) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, algorithm)
    return made.public_bytes(PEM)


def tampered() -> bytes:
    """Signed with another key than the one in it."""
    one, other = (
        x509.load_pem_x509_csr(certificates.new_request(certificates.new_key())).public_bytes(
            serialization.Encoding.DER
        )
        for _ in range(2)
    )
    whole = one[:-64] + other[-64:]
    text = base64.encodebytes(whole).decode()
    start, end = "-----BEGIN CERTIFICATE REQUEST-----\n", "-----END CERTIFICATE REQUEST-----\n"
    return f"{start}{text}{end}".encode()


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense",
        b"",
        authority().certificate,
        csr(rsa.generate_private_key(65537, 2048), hashes.SHA256()),
        csr(ed25519.Ed25519PrivateKey.generate(), None),
        csr(ec.generate_private_key(ec.SECP384R1()), hashes.SHA256()),
        tampered(),
    ],
    ids=["nonsense", "empty", "certificate", "rsa", "ed25519", "p384", "tampered"],
)
def test_a_request_that_proves_nothing_is_refused(request_):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        certificates.requested_key(request_)
    assert caught.value.reason == "CERTIFICATE_REQUEST_INVALID"


def test_a_key_and_a_certificate_that_do_not_belong_together():
    one, other = (authority().identity(["a.example"], seconds=60) for _ in range(2))
    certificates.check_pair(one.key, one.chain)
    with pytest.raises(ValueError, match="not the certificate's"):
        certificates.check_pair(one.key, other.chain)
    with pytest.raises(ValueError, match="private key cannot be read"):
        certificates.check_pair(b"x", one.chain)
    with pytest.raises(ValueError, match="certificate cannot be read"):
        certificates.check_pair(one.key, b"x")


def test_the_authority_of_a_home_is_made_once_and_kept_private(tmp_path):
    first, again = Authority.of(tmp_path), Authority.of(tmp_path)
    assert first == again
    folder = tmp_path / FOLDER
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in (KEY, CERTIFICATE):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert "PRIVATE" not in repr(first)


def test_hosts_that_no_certificate_can_bear_are_left_out():
    named = host_names(["0.0.0.0", "::", "10.1.2.3", "under_score", "c.example"])
    assert {"localhost", "127.0.0.1", "::1", "10.1.2.3", "c.example"} <= set(named)
    assert not {"0.0.0.0", "::", "under_score"} & set(named)
