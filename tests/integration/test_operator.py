"""A whole platform as an operator sets it up: `--oidc`, `--limits`, and a certificate for TLS.

All of it takes effect in every process, and others renew the certificate.
"""

from __future__ import annotations

import os
import ssl
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from oidc_issuer import OidcIssuer
from platforms import Platform, running, tiny
from tls_servers import authority

from tessera import errors
from tessera.api.controller.v1 import registry_pb2
from tessera.client import Client
from tessera.client.oidc import from_file
from tessera.rpc.address import split
from tessera.rpc.channel import bearer, channel, mapped_errors
from tessera.rpc.tls.given import CERTIFICATE, KEY, ROOTS
from tessera.rpc.tls.names import (
    attempt_name,
    coordinator_name,
    replica_name,
    shard_server_name,
)
from tessera.rpc.token import tls_of

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

OIDC = """\
issuers:
- url: {url}
  audiences: [tessera]
  username: {{prefix: "oidc:"}}
  access:
  - {{when: {{groups: ml}}, tenant: default, role: submitter}}
"""
LIMITS = """\
servers: {messages: {bytes: 8388608}}
tenant: {jobs: 3}
tenants: {default: {weights: {sets: 1}}}
"""
ASKED = {
    "controller": "tessera.api.controller.v1.AccessService/ListTenants",
    "coordinator": "tessera.api.parameters.v1.CoordinatorService/ListSets",
    "shard": "tessera.api.parameters.v1.ShardService/GetShardStatus",
    "trainer": "grpc.health.v1.Health/Check",
    "replica": "tessera.api.inference.v1.InferenceService/GetModel",
}


@pytest.fixture(scope="module")
def issuer():
    """Of certificates, as cert-manager has one."""
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
def operated(tmp_path_factory, files, given):
    """A platform with a job that runs, and a model that is served; a token of its OIDC issuer."""
    folder = tmp_path_factory.mktemp("operator")
    with OidcIssuer() as signs:
        oidc, limits, token = (folder / name for name in ("oidc.yaml", "limits.yaml", "token"))
        oidc.write_text(OIDC.format(url=signs.url))
        limits.write_text(LIMITS)
        token.write_text(signs.sign(groups=["ml"]))
        options = ("--oidc", str(oidc), "--limits", str(limits))
        encrypted = ("--tls-dir", str(given), "--ray-tls")
        with running(folder / "home", *options, *encrypted) as made:
            job = made.submit(tiny("served", files, steps=5000, every=10, resources={"workers": 1}))
            made.reach(job, step=1, version=1, seconds=300)
            made.deploy("chat", "served", seconds=240)
            yield SimpleNamespace(platform=made, token=token, job=job)
            made.cancel(job)


def shown(platform: Platform) -> str:
    """The certificate that the controller shows."""
    return ssl.get_server_certificate(split(platform.state.controller), timeout=10)


@contextmanager
def reached(operated, kind):
    """A connection to a server of that kind."""
    platform, tenant = operated.platform, "default"
    name = {
        "controller": "",
        "coordinator": coordinator_name(),
        "shard": shard_server_name("shard-0"),
        "trainer": attempt_name(tenant, operated.job, 1),
        "replica": replica_name(tenant, "chat"),
    }[kind]
    address = platform.state.controller
    if kind != "controller":
        role = registry_pb2.Role.Value(f"ROLE_{kind.upper()}")
        found = {one.name: one for one in platform.endpoints(role)}
        address = found.get("shard-0", next(iter(found.values()))).control_address
    with channel(address, tls_of(platform.token), name) as connection:
        yield connection


def test_a_model_is_trained_and_served(operated):
    platform = operated.platform
    with Client(home=platform.home.path) as client:
        run = client.processes.run(operated.job)
        assert run.ranks
        assert run.total_steps == 5000
        assert client.versions("served")
        assert client.processes.replicas("chat")[0].state == "ACTIVE"
    assert platform.run("generate", "chat", "import ", "--max-tokens", "4").stdout
    assert "shard-1" in platform.run("status").stdout


@pytest.mark.parametrize("kind", ASKED)
def test_every_server_holds_to_what_the_operator_has_set(operated, kind):
    with reached(operated, kind) as connection:
        call = connection.unary_unary(f"/{ASKED[kind]}")
        for size, reason in ((5 << 20, "MALFORMED_MESSAGE"), (9 << 20, "MESSAGE_TOO_LARGE")):
            with pytest.raises(errors.TesseraError) as caught, mapped_errors():
                call(b"\xff" * size, metadata=bearer(operated.platform.token), timeout=30)
            assert caught.value.reason == reason


def test_the_token_of_an_issuer_reaches_every_server(operated):
    state = operated.platform.state
    with Client(state.controller, ca=state.ca, oidc=from_file(operated.token)) as client:
        assert client.jobs.get(operated.job).id == operated.job
        assert [one.name for one in client.sets()] == ["default/served"]
        assert client.model("chat").family == "gpt"
        with pytest.raises(errors.ResourceExhaustedError) as caught:
            client._coordinator.acquire_writer("default/another", job="x", attempt=1)
    assert (caught.value.reason, caught.value.metadata["limit"]) == ("QUOTA_EXCEEDED", "1")


def test_on_the_command_line(operated):
    environ = {**os.environ, "TESSERA_OIDC_TOKEN_FILE": str(operated.token)}
    done = operated.platform.run("tenants", env=environ)
    row = done.stdout.splitlines()[1].split()
    assert row[:4] == ["default", "1", "of", "3"]
    refused = operated.platform.run("token", "create", "eve", env=environ, check=False)
    assert refused.returncode == 1
    assert "submitter 'oidc:ada' may not call" in refused.stderr


def test_a_renewed_certificate_is_shown_without_a_restart(operated, given, issuer):
    platform = operated.platform
    before, controller = shown(platform), platform.state.processes["controller"]
    renew(given, issuer)
    assert shown(platform) != before
    platform.run("jobs")
    assert platform.state.processes["controller"] == controller


def test_what_is_wrong_with_a_connection_is_told_in_a_line(operated, tmp_path, issuer):
    platform = operated.platform
    address, token = platform.state.controller, platform.home.token_path.read_text()
    other = tmp_path / "other.crt"
    other.write_bytes(authority().certificate)
    env = {"TESSERA_TOKEN": token, "PATH": "", "TESSERA_HOME": str(tmp_path)}
    named = ["--home", str(tmp_path / "none"), "--address", address]
    for arguments, word in (
        ([*named, "jobs"], "TLS only"),
        ([*named, "--ca", str(other), "jobs"], "authority"),
        ([*named, "--ca", str(tmp_path / "none.crt"), "jobs"], "ca.crt"),
    ):
        done = platform.run(*arguments, check=False, env=env)
        assert done.returncode in {1, 2}
        assert word in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
    right = tmp_path / "right.crt"
    right.write_bytes(issuer.certificate)
    assert platform.run(*named, "--ca", str(right), "jobs", env=env).returncode == 0
