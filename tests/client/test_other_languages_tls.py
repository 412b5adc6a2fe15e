"""A client in another language over TLS: a token, an authority, and a name to expect."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from functools import partial

import pytest
from in_process import InProcessPlatform

from tessera.api.controller.v1 import registry_pb2
from tessera.api.inference.v1 import inference_pb2, inference_pb2_grpc
from tessera.rpc.credentials import Credentials
from tessera.rpc.door import Door
from tessera.rpc.registration import Registration, endpoint, fetch_verifier
from tessera.rpc.server import Server
from tessera.rpc.tls.identity import listener_of

pytestmark = pytest.mark.processes

SERVICE = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name


class Echo(inference_pb2_grpc.InferenceServiceServicer):
    async def Generate(self, request, _context):
        yield inference_pb2.GenerateResponse(text=" and on", tokens=[1], version=1)


@pytest.fixture
def platform(tmp_path):
    with InProcessPlatform(tmp_path, tls=True) as running:
        ca = tmp_path / "controller" / "tls" / "ca.crt"
        state = {"controller": running.address, "ca": str(ca)}
        (tmp_path / "state.json").write_text(json.dumps(state))
        yield running


@pytest.fixture
def serve(platform):
    """A server of a deployment, registered as one of another's if need be."""
    stops = []
    roots = platform.controller.runtime.trust.roots

    def start(proves: str, registered: str) -> None:
        shown, announced = (
            Credentials(platform.address, platform.replica_token(name, model="default/s"), roots)
            for name in (proves, registered)
        )

        async def work():
            verifier = await asyncio.to_thread(fetch_verifier, platform.address, "", shown.tls)
            await asyncio.to_thread(fetch_verifier, platform.address, "", announced.tls)
            register = partial(inference_pb2_grpc.add_InferenceServiceServicer_to_server, Echo())
            listener = listener_of(shown.tls, mutual=False)
            server = Server(Door(verifier), [(SERVICE, register)], listener=listener)
            where = f"127.0.0.1:{await server.start()}"
            role = registry_pb2.ROLE_REPLICA
            told = endpoint(role, f"{registered}/0", where, labels={"state": "active"})
            registration = Registration(platform.address, announced, told)
            await registration.start()
            stops.append((server, registration))

        platform.run(work())

    yield start
    for server, registration in stops:
        platform.run(registration.stop())
        platform.run(server.drain(0))


@pytest.fixture
def generate(platform, node, tmp_path):
    def run(model: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["node", "generate.js", model, "on"],
            cwd=node,
            env={**os.environ, "TESSERA_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_a_replica_that_proves_to_be_the_deployment(serve, generate):
    serve("chat", "chat")
    done = generate("chat")
    assert done.stdout.startswith("on and on"), done.stderr


def test_another_one_at_its_address_is_refused(serve, generate):
    serve("other", "chat")
    done = generate("chat")
    assert done.returncode == 1
    assert "and on" not in done.stdout
