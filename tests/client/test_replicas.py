"""Replicas that go away, have no room or change their version while many texts are answered.

They are gRPC servers that the real registry knows; they embed a text as its length, and continue it
with itself.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tessera import errors
from tessera.api.controller.v1 import registry_pb2
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.api.inference.v1 import inference_pb2_grpc as pb_grpc
from tessera.client.answers import Answers
from tessera.client.replicas import Replicas
from tessera.rpc.door import Door
from tessera.rpc.identity import Verifier
from tessera.rpc.registration import Registration, fetch_verifier
from tessera.rpc.server import Server

TESSERA = Path(sys.executable).with_name("tessera")
NAME = pb.DESCRIPTOR.services_by_name["InferenceService"].full_name


class StandIn(pb_grpc.InferenceServiceServicer):
    """Embeds each text as its length, beside the number of requests before."""

    def __init__(self, platform, model: str, index: int) -> None:
        self.platform = platform
        self.sizes: list[int] = []
        self.refusals: list[Exception] = []
        self.seconds, self.width, self.version = 0.0, 2, index + 1
        self.begun, self.cancelled = threading.Event(), threading.Event()
        verifier: Verifier = fetch_verifier(platform.address)
        platform.run(self._start(verifier, model, index))

    async def _start(self, verifier, model, index) -> None:
        def register(server):
            pb_grpc.add_InferenceServiceServicer_to_server(self, server)

        self._server = Server(Door(verifier), [(NAME, register)])
        address = f"127.0.0.1:{await self._server.start()}"
        endpoint = registry_pb2.Endpoint(
            role=registry_pb2.ROLE_REPLICA,
            name=f"{model}/{index}",
            incarnation=f"{model}-{index}",
            control_address=address,
            data_address=address,
            labels={"state": "active"},
        )
        token = self.platform.replica_token(model, model="default/m")
        self._registration = Registration(self.platform.address, token, endpoint)
        await self._registration.start()

    async def _work(self):
        self.begun.set()
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def Generate(self, request, _context):
        if request.text == "bad":
            raise errors.InvalidArgumentError.at("text", "it is bad", "EMPTY_PROMPT")
        yield pb.GenerateResponse(text=request.text, tokens=[1], version=self.version)
        await self._work()
        yield pb.GenerateResponse(text="!", tokens=[2], finish_reason=1, version=self.version)

    async def Embed(self, request, _context):
        if self.refusals:
            raise self.refusals.pop(0)
        await self._work()
        rows = np.zeros((len(request.inputs), self.width), "<f4")
        rows[:, 0] = [len(item.text) for item in request.inputs]
        rows[:, 1] = len(self.sizes)
        self.sizes.append(len(rows))
        return pb.EmbedResponse(vectors=rows.tobytes(), width=self.width, version=len(self.sizes))

    def kill(self) -> None:
        """End at once, in the middle of whatever runs."""
        self.platform.run(self._server.drain(0))

    def withdraw(self) -> None:
        """What a replica's last registration says while it drains."""
        self._registration.set_labels({"state": "draining"})

    def stop(self) -> None:
        self.platform.run(self._registration.stop())
        self.kill()


@pytest.fixture
def stand_in(platform):
    """Starts replicas of a model that only this test knows."""
    started = []

    def start(model):
        started.append(StandIn(platform, model, len(started)))
        return started[-1]

    yield start
    for replica in started:
        replica.stop()


@pytest.fixture
def hasty(client):
    """Asks, without any patience."""
    replicas = Replicas(client._connection, client.deployments, patience=0)
    yield Answers(replicas)
    replicas.close()


def test_many_texts_are_joined_and_each_tells_its_version(client, stand_in):
    replica = stand_in("many")
    texts = ["x" * (i % 50) for i in range(2500)]
    found = client.embed("many", texts)
    assert replica.sizes == [1024, 1024, 452]
    assert found.vectors.dtype == np.float32
    assert found.vectors[:, 0].tolist() == [len(text) for text in texts]
    assert found.versions == (1,) * 1024 + (2,) * 1024 + (3,) * 452
    found.vectors[0] = 1  # It is the caller's own.
    assert client.embed("many", "one").vectors.shape == (1, 2)


def test_answers_that_no_message_can_hold_come_in_more_requests(client, stand_in, monkeypatch):
    limit = ("grpc.max_send_message_length", 1 << 20)
    monkeypatch.setattr("tessera.rpc.server.server_options", lambda _: [limit])
    replica = stand_in("wide")
    replica.width = 512
    found = client.embed("wide", ["x"] * 600)
    assert found.vectors.shape == (600, 512)
    # The first answer was made, and then was too long to be sent.
    assert replica.sizes == [600, 300, 300]
    assert found.versions == (2,) * 300 + (3,) * 300


def test_the_place_of_a_mistake_counts_all_texts(client, stand_in):
    replica = stand_in("picky")
    client.embed("picky", "x")
    replica.refusals = [
        errors.InvalidArgumentError.at("inputs[3].text", "it is bad", "EMPTY_INPUT")
    ]
    with pytest.raises(errors.InvalidArgumentError, match=r"^inputs\[3\].text: it is bad$"):
        client.embed("picky", ["x"] * 5)
    with pytest.raises(errors.InvalidArgumentError, match=r"inputs\[0\]"):
        client._replicas.call(
            "Embed", pb.EmbedRequest(model="picky", inputs=[pb.Input()]), seconds=5
        )


@pytest.mark.parametrize(
    "error",
    [
        errors.UnavailableError("soon", reason="DRAINING"),
        errors.UnavailableError("soon", reason="NOT_READY", retry_after=1),
        errors.ResourceExhaustedError("full", reason="QUEUE_FULL", retry_after=0.05),
    ],
    ids=lambda error: error.reason,
)
@pytest.mark.waits
def test_a_refusal_that_will_pass_is_waited_out(client, hasty, stand_in, error):
    replica = stand_in(f"busy-{error.reason.lower().replace('_', '-')}")
    model = replica._registration.endpoint.name.split("/")[0]
    replica.refusals = [error, error]
    assert len(client.embed(model, ["x"])) == 1
    replica.refusals = [error, error]
    time.sleep(0.01)
    with pytest.raises(type(error)) as caught:
        hasty.embed(model, ["x"])
    assert caught.value.reason == error.reason


def test_a_refusal_that_will_not_pass_is_told_at_once(client, stand_in):
    replica = stand_in("full")
    replica.refusals = [errors.ResourceExhaustedError("full", reason="QUEUE_FULL")]
    with pytest.raises(errors.ResourceExhaustedError):
        client.embed("full", ["x"])


def test_a_replica_that_dies_before_it_answered_is_replaced(client, stand_in):
    first = stand_in("mortal")
    first.seconds = 30.0
    found = []
    thread = threading.Thread(target=lambda: found.append(client.embed("mortal", ["abc"])))
    thread.start()
    assert first.begun.wait(5)
    second = stand_in("mortal")
    first.withdraw()
    first.kill()
    thread.join(20)
    assert found[0].vectors.tolist() == [[3, 0]]
    assert (first.sizes, second.sizes) == ([], [1])


@pytest.mark.waits
def test_what_still_runs_where_a_replica_drains_comes(client, stand_in):
    first = stand_in("draining")
    first.seconds = 1.0
    found = []
    thread = threading.Thread(target=lambda: found.append(client.embed("draining", ["abc"])))
    thread.start()
    assert first.begun.wait(5)
    second = stand_in("draining")
    first.withdraw()
    first.refusals = [errors.UnavailableError("no", reason="DRAINING")]
    client.embed("draining", ["de"])
    thread.join(20)
    assert found[0].vectors.tolist() == [[3, 0]]
    assert (first.sizes, second.sizes) == ([1], [1])


@pytest.mark.measures
def test_the_deadline_is_kept(client, stand_in):
    stand_in("slow").seconds = 30.0
    begin = time.monotonic()
    with pytest.raises(errors.DeadlineExceededError):
        client.embed("slow", ["x"], seconds=0.3)
    assert time.monotonic() - begin < 5


@pytest.mark.processes
@pytest.mark.parametrize("command", [["embed", "endless", "x"], ["generate", "endless", "x", "y"]])
def test_ctrl_c_ends_the_request_too(platform, stand_in, command):
    replica = stand_in("endless")
    replica.seconds = 60.0
    child = subprocess.Popen(
        [TESSERA, "--home", platform.home, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert replica.begun.wait(20)
    child.send_signal(signal.SIGINT)
    out, told = child.communicate(timeout=20)
    assert (child.returncode, out, told) == (130, "", "")
    assert replica.cancelled.wait(5)


@pytest.mark.measures
def test_one_bad_prompt_ends_the_others(client, stand_in):
    replica = stand_in("strict")
    replica.seconds = 60.0
    begin = time.monotonic()
    with pytest.raises(errors.InvalidArgumentError) as caught:
        client.generate_all("strict", ["a", "b", "c", "bad", "d"], at_once=4)
    assert time.monotonic() - begin < 20
    assert caught.value.message == "prompts[3].text: it is bad"
    assert caught.value.violations[0].field == "prompts[3].text"
    assert replica.cancelled.wait(5)


def test_answers_that_a_replica_had_half_written_are_written_by_another(client, stand_in):
    first = stand_in("halfway")
    first.seconds = 30.0
    found = []
    thread = threading.Thread(
        target=lambda: found.append(client.generate_all("halfway", ["a", "b"]))
    )
    thread.start()
    assert first.begun.wait(5)
    stand_in("halfway")
    first.withdraw()
    first.kill()
    thread.join(20)
    assert [(each.text, list(each.tokens)) for each in found[0]] == [("a!", [1, 2]), ("b!", [1, 2])]
    assert found[0].versions == (2, 2)


def test_numbers_that_no_message_holds(client):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        client.translate("any", ["x"], max_tokens=1 << 40)
    assert caught.value.reason == "INVALID_FIELD"
