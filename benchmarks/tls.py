"""What encryption costs: unary calls, streamed messages and pushes, with TLS and in clear.

Two servers of a model and two parameter services, alike but for TLS, are in one separate process;
rounds of the two alternate. One JSON object per line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from server_process import keep_stdout, say_ready, served
from tessera.api.inference.v1 import inference_pb2, inference_pb2_grpc
from tessera.controller.app import Controller
from tessera.controller.config import Config
from tessera.parameters.local import start_parameters
from tessera.rpc.channel import bearer, channel
from tessera.rpc.credentials import Credentials, shown
from tessera.rpc.door import Door
from tessera.rpc.identity import Verifier
from tessera.rpc.principal import Principal, Role
from tessera.rpc.server import Server
from tessera.rpc.tls.identity import listener_of
from tessera.rpc.tls.names import replica_name
from tessera.rpc.token import tls_of
from tessera.weights.coordinator import Coordinator
from tessera.weights.local_slice import LocalSlice
from tessera.weights.manifest import TensorSpec
from tessera.weights.pull import Want, pull
from tessera.weights.push import push

SERVICE = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name
NAME = replica_name("default", "m")
MIB = 1024 * 1024
TENSOR_BYTES = 4 * MIB
CALLS, MESSAGES, CONNECTIONS = 300, 3000, 50
KINDS = ("tls", "clear")


class Model(inference_pb2_grpc.InferenceServiceServicer):
    """Answers at once."""

    async def GetModel(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        """A small answer."""
        del context
        return inference_pb2.GetModelResponse(model=request.model)

    async def Generate(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """As many tokens as are asked for."""
        del context
        for token in range(request.max_tokens):
            yield inference_pb2.GenerateResponse(tokens=[token], text=" token")


async def serve(folder: Path) -> None:
    """The server process."""
    kept: list[Any] = []
    told = {kind: await _start(folder / kind, kept, tls=kind == "tls") for kind in KINDS}
    say_ready(told)
    await asyncio.Event().wait()


async def _start(folder: Path, kept: list[Any], *, tls: bool) -> dict[str, str]:
    config = Config(host="127.0.0.1", port=0, home=folder / "home", shards=0, tls=tls)
    controller = Controller(config, run_loops=False)
    await controller.start()
    issuer, roots = controller.runtime.issuer, controller.runtime.trust.roots

    def own(**principal: Any) -> Credentials:
        token = issuer.issue(Principal(**principal), ttl=86_400)
        return Credentials(controller.address, token, roots)

    nodes = [
        own(subject="coordinator", role=Role.COORDINATOR),
        own(subject="shard-0", role=Role.SHARD),
    ]
    running = await asyncio.to_thread(
        start_parameters, controller.address, nodes, folder, shards=1, lane=False
    )
    register = partial(inference_pb2_grpc.add_InferenceServiceServicer_to_server, Model())
    replica = own(subject="replica:default/m", role=Role.REPLICA, deployment="m")
    if replica.tls is not None:
        await asyncio.to_thread(lambda: replica.tls and replica.tls.identity)
    server = Server(
        Door(Verifier([issuer.public_key()])),
        [(SERVICE, register)],
        listener=listener_of(replica.tls, mutual=False),
    )
    address = f"127.0.0.1:{await server.start()}"
    # A server ends with the last who knows it.
    kept += [controller, running, server]
    token = issuer.issue(Principal(subject="bench", role=Role.SUBMITTER))
    return {
        "controller": controller.address,
        "model": address,
        "token": token,
        "roots": roots.decode(),
    }


class Caller:
    """The measuring side of one of the two."""

    def __init__(self, told: dict[str, str], size: int) -> None:
        self._token = shown(told["controller"], told["token"], told["roots"].encode())
        tls = tls_of(self._token)
        self._model = told["model"]
        self._metadata = bearer(self._token)
        self._channel = channel(self._model, tls, NAME)
        self._stub = inference_pb2_grpc.InferenceServiceStub(self._channel)
        self._coordinator = Coordinator(told["controller"], self._token)
        self._epoch = self._coordinator.acquire_writer("default/s", "bench", 1, keep=1).epoch
        self._data = np.random.default_rng(0).integers(0, 256, size, np.uint8)
        self._out = np.zeros(size, np.uint8)
        self._tensors = [
            TensorSpec(group="model", name=f"t{i}", shape=(TENSOR_BYTES // 4096, 1024), dtype="F32")
            for i in range(size // TENSOR_BYTES)
        ]

    def unary(self) -> float:
        """Seconds of one call, the median of many."""
        request = inference_pb2.GetModelRequest(model="m")
        call = partial(self._stub.GetModel, request, metadata=self._metadata)
        return statistics.median(_seconds(call) for _ in range(CALLS))

    def message(self) -> float:
        """Seconds of one message of a stream."""
        request = inference_pb2.GenerateRequest(model="m", text="x", max_tokens=MESSAGES)

        def whole() -> None:
            for _ in self._stub.Generate(request, metadata=self._metadata):
                pass

        return _seconds(whole) / MESSAGES

    def connect(self) -> float:
        """Seconds of a new connection with one call, the median of many."""
        request = inference_pb2.GetModelRequest(model="m")

        def once() -> None:
            options = [("grpc.use_local_subchannel_pool", 1)]
            with channel(self._model, tls_of(self._token), NAME, options=options) as connection:
                stub = inference_pb2_grpc.InferenceServiceStub(connection)
                stub.GetModel(request, metadata=self._metadata)

        return statistics.median(_seconds(once) for _ in range(CONNECTIONS))

    def push(self) -> float:
        """Seconds of a push."""
        opened = self._coordinator.open_version("default/s", self._epoch, 1, self._tensors)
        slices = [
            LocalSlice(tensor=i, group="model", box=t.box, data=self._part(self._data, i))
            for i, t in enumerate(self._tensors)
        ]
        seconds = _seconds(lambda: push(opened, 0, slices, self._token))
        self._coordinator.seal_version(opened)
        self._coordinator.commit_version(opened)
        return seconds

    def pull(self) -> float:
        """Seconds of a pull of the newest version."""
        manifest = self._coordinator.get_manifest("default/s")
        wants = [
            Want(group="model", name=t.name, box=t.box, out=self._part(self._out, i))
            for i, t in enumerate(self._tensors)
        ]
        return _seconds(lambda: pull(manifest, wants, self._token))

    def _part(self, data: np.ndarray, index: int) -> np.ndarray:
        return data[index * TENSOR_BYTES : (index + 1) * TENSOR_BYTES]


def _seconds(action: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def measure(told: dict[str, dict[str, str]], size: int, rounds: int) -> None:
    """Alternate the two, and print medians."""
    callers = {kind: Caller(told[kind], size) for kind in KINDS}
    units: dict[str, tuple[str, Callable[[float], float]]] = {
        "unary": ("µs", lambda seconds: seconds * 1e6),
        "message": ("µs", lambda seconds: seconds * 1e6),
        "connect": ("ms", lambda seconds: seconds * 1e3),
        "push": ("GB/s", lambda seconds: size / seconds / 1e9),
        "pull": ("GB/s", lambda seconds: size / seconds / 1e9),
    }
    names = {"unary": "unary_call", "message": "streamed_message", "connect": "new_connection"}
    for metric, (unit, per) in units.items():
        found: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for turn in range(rounds + 1):
            for kind, caller in callers.items():
                seconds = getattr(caller, metric)()
                if turn:  # The first touches pages and fills caches.
                    found[kind].append(seconds)
        ours, clear = (per(statistics.median(found[kind])) for kind in KINDS)
        report(names.get(metric, f"{metric}_{size // MIB}MiB"), ours, unit, clear)


def report(metric: str, value: float, unit: str, clear: float) -> None:
    """One line."""
    line = {
        "bench": "tls",
        "metric": metric,
        "value": round(value, 4),
        "unit": unit,
        "baseline": "in clear",
        "baseline_value": round(clear, 4),
        "ratio": round(value / clear, 3),
    }
    print(json.dumps(line, ensure_ascii=False), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="32 MiB, 3 rounds")
    parser.add_argument("--rounds", type=int, default=7, help="that count")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_stdout()
    size, rounds = (32 * MIB, 3) if options.quick else (256 * MIB, options.rounds)
    if options.serve:
        asyncio.run(serve(options.serve))
        return
    with served(__file__, sys.argv[1:]) as server:
        measure(server.told, size, rounds)


if __name__ == "__main__":
    main()
