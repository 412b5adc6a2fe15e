"""A controller with TLS: made or given certificates, and what its own are for."""

from __future__ import annotations

import json
import ssl

import pytest
from cryptography import x509
from in_process import InProcessPlatform
from tls_servers import authority

from tessera import errors
from tessera.client import Client
from tessera.controller.encryption import Encryption
from tessera.controller.trust import CONTROLLER
from tessera.parameters.local import start_parameters
from tessera.rpc.address import split
from tessera.rpc.credentials import Credentials
from tessera.rpc.tls.given import CERTIFICATE, KEY, ROOTS


@pytest.fixture(scope="module")
def issuer():
    return authority("somebody else's")


@pytest.fixture
def given(tmp_path, issuer):
    """Writes a certificate of the controller's, as others give it."""
    folder = tmp_path / "given"
    folder.mkdir()

    def write(*names, seconds=600):
        identity = issuer.identity([*names], seconds=seconds)
        for name, content in (
            (CERTIFICATE, identity.chain),
            (KEY, identity.key),
            (ROOTS, issuer.certificate),
        ):
            (folder / name).write_bytes(content)
        return folder

    return write


def names(chain: bytes) -> set[str]:
    found = x509.load_pem_x509_certificate(chain).extensions
    named = found.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = named.get_values_for_type(x509.IPAddress)
    return {*named.get_values_for_type(x509.DNSName), *map(str, addresses)}


def test_what_is_made_bears_every_name_that_it_is_called_at(tmp_path):
    made = Encryption(tmp_path, CONTROLLER, ["10.0.0.7", "c.example"])
    shown = names(made.listener.identity().chain)
    assert {"localhost", "127.0.0.1", "::1", "10.0.0.7", "c.example"} <= shown
    assert not made.listener.mutual
    assert made.roots == made.authority == (tmp_path / "tls" / "ca.crt").read_bytes()


def test_what_is_given_is_for_the_controller_alone(tmp_path, given, issuer):
    """Workloads are the platform's own: whoever gives the certificate may not be one of them."""
    home = tmp_path / "home"
    home.mkdir()
    folder = given("127.0.0.1")
    with InProcessPlatform(home, tls=True, tls_dir=folder) as platform:
        trust = platform.controller.runtime.trust
        assert trust.roots == issuer.certificate != trust.encryption.authority
        shown = [Credentials(platform.address, t, trust.roots) for t in platform.node_tokens()]
        platform.parameters = start_parameters(platform.address, shown, home / "parameters")
        assert shown[0].tls.identity.roots == trust.encryption.authority
        with Client(platform.address, platform.token, ca=folder / ROOTS) as client:
            assert client.sets() == []
        before = ssl.get_server_certificate(split(platform.address))
        given("127.0.0.1", "renewed.example")
        assert ssl.get_server_certificate(split(platform.address)) != before
        with Client(platform.address, platform.token, ca=folder / ROOTS) as client:
            assert client.sets() == []


@pytest.mark.parametrize(
    ("bears", "seconds", "reason"),
    [("elsewhere.example", 600, "TLS_WRONG_NAME"), ("127.0.0.1", -1, "TLS_EXPIRED")],
)
def test_what_nobody_would_believe_is_refused_at_the_start(tmp_path, given, bears, seconds, reason):
    home = tmp_path / "home"
    home.mkdir()
    with pytest.raises(errors.UnavailableError) as caught:
        InProcessPlatform(home, tls=True, tls_dir=given(bears, seconds=seconds))
    assert caught.value.reason == reason


def test_the_home_names_the_authority_for_its_address_alone(tmp_path):
    with InProcessPlatform(tmp_path, tls=True) as platform:
        ca = tmp_path / "controller" / "tls" / "ca.crt"
        state = {"controller": platform.address, "ca": str(ca)}
        (tmp_path / "state.json").write_text(json.dumps(state))
        for access in ({"home": tmp_path}, {"home": tmp_path, "address": platform.address}):
            with Client(**access) as client:
                assert client.pools() == []
        port = split(platform.address)[1]
        with (
            Client(f"localhost:{port}", home=tmp_path) as client,
            pytest.raises(errors.UnavailableError) as caught,
        ):
            client.pools()
        assert caught.value.reason == "TLS_EXPECTED"
        with Client(f"localhost:{port}", home=tmp_path, ca=ca) as client:
            assert client.pools() == []


@pytest.mark.parametrize("content", [None, "no certificate", ""])
def test_an_authority_that_is_none(tmp_path, content):
    ca = tmp_path / "ca.crt"
    if content is not None:
        ca.write_text(content)
    with pytest.raises(errors.FailedPreconditionError) as caught:
        Client("127.0.0.1:1", "t", ca=ca)
    assert caught.value.reason == "CA_UNUSABLE"
    assert str(ca) in caught.value.message
