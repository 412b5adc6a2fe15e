"""A whole platform over TLS, with a certificate of the controller's that others renew."""

from __future__ import annotations

import ssl

import pytest
from platforms import Platform, running, tiny
from tls_servers import authority

from tessera.client import Client
from tessera.rpc.address import split
from tessera.rpc.tls.given import CERTIFICATE, KEY, ROOTS

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def issuer():
    """As cert-manager has one."""
    return authority("somebody else's")


def renew(folder, issuer) -> None:
    identity = issuer.identity(["controller.example", "127.0.0.1"], seconds=600)
    contents = {CERTIFICATE: identity.chain, KEY: identity.key, ROOTS: issuer.certificate}
    for name, content in contents.items():
        (folder / name).write_bytes(content)


@pytest.fixture(scope="module")
def given(tmp_path_factory, issuer):
    folder = tmp_path_factory.mktemp("given")
    renew(folder, issuer)
    return folder


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory, given):
    with running(tmp_path_factory.mktemp("tls"), "--tls-dir", str(given), "--ray-tls") as made:
        yield made


def shown(platform: Platform) -> str:
    """The certificate that the controller shows."""
    return ssl.get_server_certificate(split(platform.state.controller), timeout=10)


def test_a_model_is_trained_and_served(encrypted, files):
    with Client(home=encrypted.home.path) as client:
        job = encrypted.submit(tiny("tiny", files))
        run = encrypted.reach(job, step=1)
        assert run.ranks
        assert client.processes.run(job).total_steps == run.total_steps
        encrypted.succeed(job)
        assert client.versions("tiny")
        encrypted.deploy("tiny", "tiny")
        assert client.processes.replicas("tiny")[0].state == "ACTIVE"
    assert encrypted.run("generate", "tiny", "import ", "--max-tokens", "4").stdout
    assert "shard-1" in encrypted.run("status").stdout


def test_a_renewed_certificate_is_shown_without_a_restart(encrypted, given, issuer):
    before, controller = shown(encrypted), encrypted.state.processes["controller"]
    renew(given, issuer)
    assert shown(encrypted) != before
    encrypted.run("jobs")
    assert encrypted.state.processes["controller"] == controller


def test_what_is_wrong_is_told_in_a_line(encrypted, tmp_path, issuer):
    address, token = encrypted.state.controller, encrypted.home.token_path.read_text()
    other = tmp_path / "other.crt"
    other.write_bytes(authority().certificate)
    env = {"TESSERA_TOKEN": token, "PATH": "", "TESSERA_HOME": str(tmp_path)}
    named = ["--home", str(tmp_path / "none"), "--address", address]
    for arguments, word in (
        ([*named, "jobs"], "TLS only"),
        ([*named, "--ca", str(other), "jobs"], "authority"),
        ([*named, "--ca", str(tmp_path / "none.crt"), "jobs"], "ca.crt"),
    ):
        done = encrypted.run(*arguments, check=False, env=env)
        assert done.returncode in {1, 2}
        assert word in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
    right = tmp_path / "right.crt"
    right.write_bytes(issuer.certificate)
    assert encrypted.run(*named, "--ca", str(right), "jobs", env=env).returncode == 0
