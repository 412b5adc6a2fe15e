"""A whole platform with `--oidc` and `--limits`: both files take effect, in every process."""

from __future__ import annotations

import os
from types import SimpleNamespace

import grpc
import pytest
from oidc_issuer import OidcIssuer
from platforms import Platform, tiny

from tessera import errors
from tessera.api.controller.v1 import registry_pb2
from tessera.client import Client
from tessera.client.oidc import from_file
from tessera.rpc.channel import bearer, mapped_errors

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
def running(tmp_path_factory, files):
    """A platform with a job that runs, a model that is served, and the addresses of all servers."""
    folder = tmp_path_factory.mktemp("operator")
    made = Platform(folder)
    with OidcIssuer() as issuer:
        (folder / "oidc.yaml").write_text(OIDC.format(url=issuer.url))
        (folder / "limits.yaml").write_text(LIMITS)
        try:
            made.up(
                *("--cpus", "16", "--oidc", str(folder / "oidc.yaml")),
                *("--limits", str(folder / "limits.yaml")),
            )
            token = folder / "token"
            token.write_text(issuer.sign(groups=["ml"]))
            job = made.submit(tiny("served", files, steps=5000, every=10, resources={"workers": 1}))
            made.reach(job, step=1, version=1, seconds=300)
            made.deploy("chat", "served", seconds=240)
            yield SimpleNamespace(platform=made, token=token, job=job)
            made.cancel(job)
        finally:
            made.down()


def address(running, kind):
    if kind == "controller":
        return running.platform.state.controller
    role = registry_pb2.Role.Value(f"ROLE_{kind.upper()}")
    return running.platform.endpoints(role)[0].control_address


@pytest.mark.parametrize("kind", ASKED)
def test_every_server_holds_to_what_the_operator_has_set(running, kind):
    with grpc.insecure_channel(address(running, kind)) as connection:
        call = connection.unary_unary(f"/{ASKED[kind]}")
        for size, reason in ((5 << 20, "MALFORMED_MESSAGE"), (9 << 20, "MESSAGE_TOO_LARGE")):
            with pytest.raises(errors.TesseraError) as caught, mapped_errors():
                call(b"\xff" * size, metadata=bearer(running.platform.token), timeout=30)
            assert caught.value.reason == reason


def test_the_token_of_an_issuer_reaches_every_server(running):
    controller = running.platform.state.controller
    with Client(controller, oidc=from_file(running.token)) as client:
        assert client.jobs.get(running.job).id == running.job
        assert [one.name for one in client.sets()] == ["default/served"]
        assert client.model("chat").family == "gpt"
        with pytest.raises(errors.ResourceExhaustedError) as caught:
            client._coordinator.acquire_writer("default/another", job="x", attempt=1)
    assert (caught.value.reason, caught.value.metadata["limit"]) == ("QUOTA_EXCEEDED", "1")


def test_on_the_command_line(running):
    environ = {**os.environ, "TESSERA_OIDC_TOKEN_FILE": str(running.token)}
    done = running.platform.run("tenants", env=environ)
    row = done.stdout.splitlines()[1].split()
    assert row[:4] == ["default", "1", "of", "3"]
    refused = running.platform.run("token", "create", "eve", env=environ, check=False)
    assert refused.returncode == 1
    assert "submitter 'oidc:ada' may not call" in refused.stderr
