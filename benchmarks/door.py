"""What the door of a server costs a call, and how another tenant fares while one floods it.

A unary call of our server, with token, table and limits, against a bare grpc.aio server with the
same handler; both are in one separate process, and rounds of the two alternate. Then calls of one
tenant on a real coordinator and shard, alone and while another holds idle pushes and watchers. One
JSON object per line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from server_process import keep_stdout, say_ready, served
from tessera.api.inference.v1 import inference_pb2, inference_pb2_grpc
from tessera.api.parameters.v1 import coordinator_pb2, coordinator_pb2_grpc, manifest_pb2
from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.api.parameters.v1 import shard_pb2_grpc as pb_grpc
from tessera.controller.app import Controller
from tessera.controller.config import Config
from tessera.parameters.local import start_parameters
from tessera.rpc.channel import bearer, channel, data_channel
from tessera.rpc.door import Door
from tessera.rpc.identity import Verifier
from tessera.rpc.principal import Principal, Role
from tessera.rpc.server import Server

SERVICE = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name
CALLS = 300
PUSHES = 16
WATCHERS = 500
TENANTS = ("one", "another")


class Model(inference_pb2_grpc.InferenceServiceServicer):
    """The handler behind both servers."""

    async def GetModel(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        """An answer at once."""
        del context
        return inference_pb2.GetModelResponse(model=request.model)


async def serve(folder: Path) -> None:
    """The server process: controller, coordinator, a shard, and the two servers of a model."""
    config = Config(host="127.0.0.1", port=0, home=folder / "home", shards=0)
    controller = Controller(config, run_loops=False)
    await controller.start()
    issuer = controller.runtime.issuer
    nodes = (
        issuer.issue(Principal(subject="coordinator", role=Role.COORDINATOR)),
        issuer.issue(Principal(subject="shard-0", role=Role.SHARD)),
    )
    running = await asyncio.to_thread(start_parameters, controller.address, nodes, folder, shards=1)
    register = partial(inference_pb2_grpc.add_InferenceServiceServicer_to_server, Model())
    server = Server(Door(Verifier([issuer.public_key()])), [(SERVICE, register)])
    bare = grpc.aio.server()
    register(bare)
    port = bare.add_insecure_port("127.0.0.1:0")
    await bare.start()
    shard, coordinator = running.nodes
    told = {
        "bare": f"127.0.0.1:{port}",
        "door": f"127.0.0.1:{await server.start()}",
        "coordinator": coordinator.address,
        "data": getattr(shard, "data_address", ""),
    }
    for tenant in TENANTS:
        caller = Principal(subject=tenant, role=Role.SUBMITTER, tenant=tenant)
        told[f"token of {tenant}"] = issuer.issue(caller)
    say_ready(told)
    await asyncio.Event().wait()


def median(action: Callable[[], Any], calls: int) -> float:
    """Seconds of one of many calls."""
    seconds = []
    for _ in range(calls):
        begin = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def measure_call(told: dict[str, str], rounds: int) -> None:
    """Microseconds of a unary call, of the two servers in turns."""
    request = inference_pb2.GetModelRequest(model="m")
    metadata = bearer(told["token of one"])
    found: dict[str, list[float]] = {"door": [], "bare": []}
    with channel(told["door"]) as door, channel(told["bare"]) as bare:
        for turn in range(rounds + 1):
            for name, connection in (("door", door), ("bare", bare)):
                get = inference_pb2_grpc.InferenceServiceStub(connection).GetModel
                seconds = median(partial(get, request, metadata=metadata), CALLS)
                if turn:
                    found[name].append(seconds * 1e6)
    ours, theirs = (statistics.median(found[name]) for name in ("door", "bare"))
    report("unary_call", ours, "µs", "bare grpc.aio server", theirs)


class Tenant:
    """Calls of one of the two tenants."""

    def __init__(self, told: dict[str, str], name: str) -> None:
        self._metadata = bearer(told[f"token of {name}"])
        self._set = f"{name}/s"
        self._data = data_channel(told["data"])
        self._control = channel(told["coordinator"])
        self._push = pb_grpc.ShardDataServiceStub(self._data).PushSlices
        self._stub = coordinator_pb2_grpc.CoordinatorServiceStub(self._control)
        acquire = coordinator_pb2.AcquireWriterRequest(set=self._set, job="j", attempt=1)
        epoch = self._stub.AcquireWriter(acquire, metadata=self._metadata, timeout=30).epoch
        tensor = manifest_pb2.Tensor(group="model", name="w", shape=[1], dtype="F32")
        opening = coordinator_pb2.OpenVersionRequest(set=self._set, epoch=epoch, tensors=[tensor])
        opened = self._stub.OpenVersion(opening, metadata=self._metadata, timeout=30)
        self._target = pb.PushSlicesRequest(target=pb.PushTarget(set=self._set, grant=opened.grant))

    def push(self) -> None:
        """A push of nothing."""
        self._push(iter([self._target]), metadata=self._metadata, timeout=30)

    def list(self) -> None:
        """A look at its sets."""
        request = coordinator_pb2.ListSetsRequest()
        self._stub.ListSets(request, metadata=self._metadata, timeout=30)

    @contextmanager
    def idle_pushes(self) -> Iterator[None]:
        """Streams that name their target, and then say nothing."""
        ended = threading.Event()

        def sent() -> Iterator[pb.PushSlicesRequest]:
            yield self._target
            ended.wait()

        calls = [self._push.future(sent(), metadata=self._metadata) for _ in range(PUSHES)]
        time.sleep(1)
        yield
        ended.set()
        for call in calls:
            call.cancel()

    @contextmanager
    def watchers(self) -> Iterator[None]:
        """Streams that wait for versions."""
        request = coordinator_pb2.WatchSetRequest(set=self._set)
        calls = [self._stub.WatchSet(request, metadata=self._metadata) for _ in range(WATCHERS)]
        time.sleep(2)
        yield
        for call in calls:
            call.cancel()


def measure_tenants(told: dict[str, str], rounds: int) -> None:
    """Milliseconds of one tenant's calls, alone and beside the other's streams, in turns."""
    flood, victim = (Tenant(told, name) for name in TENANTS)
    kinds = {
        f"push, beside {PUSHES} idle pushes": (victim.push, flood.idle_pushes),
        f"list sets, beside {WATCHERS} watchers": (victim.list, flood.watchers),
    }
    for metric, (action, flooding) in kinds.items():
        median(action, CALLS)
        quiet, loaded = [], []
        for _ in range(rounds):
            quiet.append(median(action, CALLS) * 1e3)
            with ExitStack() as stack:
                stack.enter_context(flooding())
                loaded.append(median(action, CALLS) * 1e3)
            time.sleep(0.5)
        report(metric, statistics.median(loaded), "ms", "alone", statistics.median(quiet))


def report(metric: str, value: float, unit: str, baseline: str, baseline_value: float) -> None:
    """One line."""
    line = {
        "bench": "door",
        "metric": metric,
        "value": round(value, 4),
        "unit": unit,
        "baseline": baseline,
        "baseline_value": round(baseline_value, 4),
        "ratio": round(value / baseline_value, 3),
    }
    print(json.dumps(line, ensure_ascii=False), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="that count")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_stdout()
    if options.serve:
        asyncio.run(serve(options.serve))
        return
    with served(__file__) as server:
        measure_call(server.told, options.rounds)
        measure_tenants(server.told, options.rounds)


if __name__ == "__main__":
    main()
