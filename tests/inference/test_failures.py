"""What can never be served ends at once and says why; what may pass is waited for."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import subprocess
import sys

import pytest
import tokenizers
import torch
from in_process import InProcessPlatform, handed

from tessera import errors
from tessera.api.controller.v1 import deployment_pb2
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.inference.weights import Loader
from tessera.rpc.principal import Role

from .replicas import Writer, active

pytestmark = pytest.mark.processes

READY = deployment_pb2.DEPLOYMENT_STATE_READY
FAILED = deployment_pb2.DEPLOYMENT_STATE_FAILED


@pytest.fixture
def loads(monkeypatch):
    """Versions that were loaded, or tried to."""
    tried, load = [], Loader.load

    def counted(loader, version=0):
        tried.append(version)
        return load(loader, version)

    monkeypatch.setattr(Loader, "load", counted)
    return tried


def failed(status):
    return status.state == pb.REPLICA_STATE_FAILED


def no_end(model):
    """Assets in which nothing says what ends a text: neither the config nor a well-known name."""
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "[X]": 1}, unk_token="[X]"))
    content = str(inner.to_str()).encode()
    return {"tokenizer.json": content, "config.json": config(model, end_id=-1)}


def config(model, **values):
    return json.dumps({**json.loads(model.config.to_json()), **values}).encode()


def unfit(tiny):
    """Assets that no build of this series serves, and a word of the reason."""
    model = tiny.model()
    stack = json.loads(model.config.to_json())["decoder"]
    task = json.loads(model.config.to_json())["task"]
    return {
        "tokenizer-without-end": (no_end(model), "no token that ends a text"),
        "no-tokenizer": ({"tokenizer.json": b"\xff"}, "not a tokenizer.json"),
        "no-config": ({"config.json": None}, "config.json"),
        "broken-config": ({"config.json": b"{"}, "config.json"),
        "list-as-config": ({"config.json": b"[]"}, "config.json"),
        "unknown-family": ({"config.json": config(model, family="rnn")}, "rnn"),
        "unknown-task": ({"config.json": config(model, task={**task, "kind": "dance"})}, "dance"),
        "other-task": (
            {"config.json": config(model, task={**task, "kind": "question_answering"})},
            "question_answering",
        ),
        "no-stack": ({"config.json": config(model, decoder=None)}, "needs an encoder or a decoder"),
        "encoder-for-gpt": (
            {"config.json": config(model, encoder=stack, decoder=None)},
            "cannot be served",
        ),
        "weights-missing": (
            {"config.json": config(model, decoder={**stack, "layers": 3})},
            "lacks tensor",
        ),
        "weights-unknown": (
            {"config.json": config(model, decoder={**stack, "layers": 1})},
            "does not know tensor",
        ),
        "other-sizes": (
            {"config.json": config(model, decoder={**stack, "ff_width": 64})},
            "has shape",
        ),
        "more-layers-than-anybody": (
            {"config.json": config(model, decoder={**stack, "layers": 10**9})},
            "layers",
        ),
        "unknown-choice": (
            {"config.json": config(model, decoder={**stack, "positions": "spiral"})},
            "spiral",
        ),
        "number-as-text": (
            {"config.json": config(model, decoder={**stack, "width": "wide"})},
            "cannot be served",
        ),
    }


KINDS = [
    "tokenizer-without-end", "no-tokenizer", "no-config", "broken-config", "list-as-config",
    "unknown-family", "unknown-task", "other-task", "no-stack", "encoder-for-gpt",
    "weights-missing", "weights-unknown", "other-sizes", "more-layers-than-anybody",
    "unknown-choice", "number-as-text",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
async def test_what_can_never_be_served_ends_at_once(platform, serve, tiny, loads, kind):
    assets, word = unfit(tiny)[kind]
    version = Writer(platform, kind).publish(tiny.model(), **assets)
    platform.deploy(kind, f"{kind}@{version}")
    client = await serve(kind)
    status = await client.until(failed)
    assert word in status.message
    await shown(platform, kind, FAILED, word)
    assert await client.health() == "NOT_SERVING"
    with pytest.raises(errors.FailedPreconditionError) as refused:
        await client.generate((1,), 1)
    assert refused.value.reason == "DEPLOYMENT_FAILED"
    assert word in refused.value.message
    await asyncio.sleep(0.5)
    assert loads == [version]


async def shown(platform, name, state, word):
    """Wait until users see a deployment so; returns it."""
    async with asyncio.timeout(10):
        while True:
            found = await asyncio.to_thread(platform.deployment, name)
            if found.state == state and word in found.message:
                return found
            await asyncio.sleep(0.05)


async def test_the_next_version_gets_its_turn(platform, serve, tiny, loads):
    writer = Writer(platform, "mended")
    bad = writer.publish(tiny.model(1), **no_end(tiny.model(1)))
    platform.deploy("mended", "mended")
    client = await serve("mended")
    await client.until(failed)
    found = await shown(platform, "mended", FAILED, "ends a text")
    assert (found.failed_replicas, found.ready_replicas) == (1, 0)
    worse = writer.publish(tiny.model(2), **{"config.json": b"{"})
    await client.until(lambda status: failed(status) and f"version {worse}" in status.message)
    good = writer.publish(tiny.model(3))
    await client.until(active(good))
    found = await shown(platform, "mended", READY, "")
    assert (found.version, found.message, found.failed_replicas) == (good, "", 0)
    assert loads == [bad, worse, good]


async def test_what_is_served_stays_and_says_why_the_next_is_not(platform, serve, tiny, loads):
    writer = Writer(platform, "stays")
    good = writer.publish(tiny.model(1))
    platform.deploy("stays", "stays")
    client = await serve("stays")
    await client.until(active(good))
    bad = writer.publish(tiny.model(2), **no_end(tiny.model(2)))
    found = await shown(platform, "stays", READY, f"version {bad}: ")
    assert "ends a text" in found.message
    assert (found.version, found.ready_replicas, found.failed_replicas) == (good, 1, 0)
    assert await client.health() == "SERVING"
    assert await client.generate((1,), 5) == (good, tiny.naive(tiny.model(1), (1,), 5))
    await asyncio.sleep(0.5)
    assert loads == [good, bad]


async def test_a_cache_that_no_memory_holds(platform, serve, tiny, loads):
    version = Writer(platform, "huge").publish(tiny.model())
    platform.deploy("huge", f"huge@{version}", blocks=2**31 - 1)
    client = await serve("huge")
    status = await client.until(failed)
    assert "can never fit" in status.message
    assert "blocks" in status.message
    await shown(platform, "huge", FAILED, "can never fit")
    assert loads == [version]


async def test_weights_that_no_memory_holds(platform, serve, tiny, tmp_path, monkeypatch):
    """Told a small machine by what Linux tells a container."""
    limit = tmp_path / "memory.max"
    limit.write_text("1000\n")
    monkeypatch.setattr("tessera.device.CGROUP_MEMORY", limit)
    version = Writer(platform, "heavy").publish(tiny.model())
    platform.deploy("heavy", f"heavy@{version}")
    client = await serve("heavy")
    assert "can never fit" in (await client.until(failed)).message


async def test_a_slice_that_was_damaged(platform, serve, tiny, loads):
    model = copy.copy(tiny.model(7))
    version = Writer(platform, "torn").publish(model)
    weight = model.module.trunk.decoder.blocks[1].mlp.down.weight.detach().numpy().tobytes()[:256]
    files = [path for path in platform.home.rglob("*") if path.is_file()]
    (path,) = (path for path in files if weight in path.read_bytes())
    content = bytearray(path.read_bytes())
    content[content.index(weight) + 5] ^= 1
    path.write_bytes(content)
    platform.deploy("torn", f"torn@{version}")
    client = await serve("torn")
    status = await client.until(failed)
    assert "checksum" in status.message
    assert loads == [version]


async def test_a_version_that_is_not_there(platform, serve, tiny):
    Writer(platform, "dropped").publish(tiny.model())
    platform.deploy("dropped", "dropped@9")
    client = await serve("dropped")
    assert "9" in (await client.until(failed)).message


async def test_a_service_that_restarts_is_waited_for(tmp_path, serve, tiny):
    with InProcessPlatform(tmp_path) as platform:
        platform.start_parameters()
        version = Writer(platform, "patient").publish(tiny.model())
        platform.deploy("patient", f"patient@{version}")
        platform.stop_parameters()
        client = await serve("patient", platform)
        await asyncio.sleep(2)
        assert (await client.status()).state == pb.REPLICA_STATE_EMPTY
        found = await asyncio.to_thread(platform.deployment, "patient")
        assert found.state == deployment_pb2.DEPLOYMENT_STATE_PENDING
        await asyncio.to_thread(platform.start_parameters)
        await client.until(active(version), 60)


async def test_a_device_that_is_not_there_ends_a_replica(platform, tiny):
    assert not torch.cuda.is_available()
    Writer(platform, "device").publish(tiny.model())
    for kind in ("GPU", "TPU-V4"):
        name = f"device-{kind.lower()}"
        platform.deploy(name, "device", accelerator=kind)
        with pytest.raises(errors.TesseraError) as refused:
            await platform.replica(name)
        assert not refused.value.transient
        assert refused.value.reason.startswith("ACCELERATOR_")


@pytest.mark.parametrize(
    ("ticket", "cluster", "code", "last"),
    [
        ("", "127.0.0.1:1", os.EX_TEMPFAIL, "ticket"),
        ("good", None, 1, "KeyError: 'RAY_ADDRESS'"),
        ("good", "nonsense:port:x", 1, ""),
    ],
)
async def test_the_job_that_ensures_says_whether_trying_again_may_help(
    platform, ticket, cluster, code, last
):
    others = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tessera.inference", "--controller", platform.address),
        *("--tenant", "default", "--deployment", "x", "--generation", "g", "--replicas", "1"),
        env={
            **others,
            **(platform.tickets(Role.REPLICA) if ticket else handed("none")),
            **({"RAY_ADDRESS": cluster} if cluster else {}),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == code, output.decode()
    assert last in output.decode().splitlines()[-1]


KINDS_OF_ERRORS = [
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.TesseraError)
]


@pytest.mark.parametrize("name", KINDS_OF_ERRORS)
def test_every_error_says_whether_it_passes(name):
    passes = {
        "InternalError", "AbortedError", "ResourceExhaustedError", "UnauthenticatedError",
        "UnavailableError", "DeadlineExceededError", "CancelledError",
    }  # fmt: skip
    assert errors.is_transient(vars(errors)[name]("x")) == (name in passes)


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (MemoryError(), False),
        (torch.OutOfMemoryError("x"), False),
        (ImportError("x"), False),
        (KeyError("x"), False),
        (AssertionError(), False),
    ],
    ids=repr,
)
def test_of_other_errors_those_of_the_system_pass(error, passes):
    assert errors.is_transient(error) is passes
    assert errors.describe(error).startswith(type(error).__name__)
