"""Push and pull of 256 MiB through a shard, against a bare gRPC stream into the same kind of pool.

The bare stream has identity serializers, sends the same chunks, and copies them into touched blocks
of memory (push) or into the reader's buffer (pull): no slices, no checksums, no files. Both are
served by one separate process, and rounds of the two alternate. One JSON object per line.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import xxhash

from server_process import keep_stdout, say_ready, served
from tessera.controller.app import Controller
from tessera.controller.config import Config
from tessera.parameters.buffers import BufferPool
from tessera.parameters.local import start_parameters
from tessera.rpc.channel import MAX_MESSAGE, data_channel, server_options
from tessera.rpc.principal import Principal, Role
from tessera.weights import wire
from tessera.weights.coordinator import Coordinator
from tessera.weights.local_slice import LocalSlice
from tessera.weights.manifest import TensorSpec
from tessera.weights.pull import Want, pull
from tessera.weights.push import push

MIB = 1024 * 1024
TENSOR_BYTES = 4 * MIB
SMALL, SMALL_BYTES = 5000, 4096
SET = "default/bench"
BASELINE = "bare gRPC stream"


class Bare:
    """The baseline's server: bytes in, bytes out."""

    def __init__(self, size: int) -> None:
        self._pool = BufferPool(2 * size)
        self._source = np.full(size, 1, np.uint8)

    def register(self, server: Any) -> None:
        """Add the two methods."""
        handlers: dict[str, Any] = {
            "Push": grpc.stream_unary_rpc_method_handler(self.push, wire.identity, wire.identity),
            "Pull": grpc.unary_stream_rpc_method_handler(self.pull, wire.identity, wire.identity),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Bare", handlers),))

    def push(self, requests: Iterator[bytes], context: Any) -> bytes:
        """Copy every chunk into a block of the pool."""
        del context
        blocks = []
        fill = 0
        for request in requests:
            if fill == 0:
                blocks.append(self._pool.take())
            data = np.frombuffer(request, np.uint8)
            blocks[-1][fill : fill + data.size] = data
            fill = (fill + data.size) % blocks[-1].size
        self._pool.give(blocks)
        return b"ok"

    def pull(self, request: bytes, context: Any) -> Iterator[bytes]:
        """Send the source in chunks."""
        del request, context
        for start in range(0, self._source.size, wire.CHUNK_BYTES):
            yield self._source[start : start + wire.CHUNK_BYTES].tobytes()


async def serve(folder: Path, size: int, *, lane: bool = False) -> None:
    """The server process: controller, coordinator, one shard, and the bare stream.

    Without a lane everything comes over gRPC: what the two streams are compared by.
    """
    config = Config(host="127.0.0.1", port=0, home=folder / "home", shards=0)
    controller = Controller(config, run_loops=False)
    await controller.start()
    issuer = controller.runtime.issuer
    nodes = (
        issuer.issue(Principal(subject="coordinator", role=Role.COORDINATOR)),
        issuer.issue(Principal(subject="shard-0", role=Role.SHARD)),
    )
    running = await asyncio.to_thread(
        start_parameters, controller.address, nodes, folder, shards=1, lane=lane
    )
    token = issuer.issue(Principal(subject="bench", role=Role.SUBMITTER))
    # The same server as a shard's, without a token.
    server = grpc.server(ThreadPoolExecutor(16), options=server_options(MAX_MESSAGE))
    Bare(size).register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    # As an actor of the service does once it has started.
    gc.collect()
    gc.freeze()
    found = {"controller": controller.address, "token": token, "bare": f"127.0.0.1:{port}"}
    say_ready(found)
    await asyncio.Event().wait()
    running.stop()


class Client:
    """The measuring side."""

    def __init__(
        self, found: dict[str, str], size: int, name: str = SET, tensor_bytes: int = TENSOR_BYTES
    ) -> None:
        self._set = name
        self._tensor_bytes = tensor_bytes
        self._token = found["token"]
        self._bare = found["bare"]
        self._client = Coordinator(found["controller"], self._token)
        self._epoch = self._client.acquire_writer(name, "bench", 1, keep=1).epoch
        self._data = np.random.default_rng(0).integers(0, 256, size, np.uint8)
        self._out = np.full(size, 1, np.uint8)
        shape = (tensor_bytes // 4096, 1024)
        self._tensors = [
            TensorSpec(group="model", name=f"t{i}", shape=shape, dtype="F32")
            for i in range(size // tensor_bytes)
        ]
        self._step = 0

    def part(self, data: np.ndarray, index: int) -> np.ndarray:
        """The bytes of a tensor."""
        return data[index * self._tensor_bytes : (index + 1) * self._tensor_bytes]

    def bare_push(self) -> float:
        """Seconds of the baseline's push."""

        def chunks() -> Iterator[bytes]:
            for start in range(0, self._data.size, wire.CHUNK_BYTES):
                yield self._data[start : start + wire.CHUNK_BYTES].tobytes()

        begin = time.perf_counter()
        with data_channel(self._bare) as connection:
            connection.stream_unary("/Bare/Push", wire.identity, wire.identity)(chunks())
        return time.perf_counter() - begin

    def bare_pull(self) -> float:
        """Seconds of the baseline's pull."""
        begin = time.perf_counter()
        filled = 0
        with data_channel(self._bare) as connection:
            for chunk in connection.unary_stream("/Bare/Pull", wire.identity, wire.identity)(b""):
                self._out[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
                filled += len(chunk)
        return time.perf_counter() - begin

    def push(self) -> tuple[float, float, float]:
        """Seconds of a push, of its seal (fsync), and of its commit."""
        self._step += 1
        opened = self._client.open_version(self._set, self._epoch, self._step, self._tensors)
        slices = [
            LocalSlice(tensor=i, group="model", box=t.box, data=self.part(self._data, i))
            for i, t in enumerate(self._tensors)
        ]
        begin = time.perf_counter()
        push(opened, 0, slices, self._token)
        pushed = time.perf_counter()
        self._client.seal_version(opened)
        sealed = time.perf_counter()
        self._client.commit_version(opened)
        return pushed - begin, sealed - pushed, time.perf_counter() - sealed

    def pull(self) -> float:
        """Seconds of a pull of the newest version."""
        manifest = self._client.get_manifest(self._set)
        self._out[:] = 0
        wants = [
            Want(group="model", name=t.name, box=t.box, out=self.part(self._out, i))
            for i, t in enumerate(self._tensors)
        ]
        begin = time.perf_counter()
        pull(manifest, wants, self._token)
        seconds = time.perf_counter() - begin
        # In parts: all at once would take as much memory again.
        for start in range(0, self._data.size, TENSOR_BYTES):
            part = slice(start, start + TENSOR_BYTES)
            if not np.array_equal(self._out[part], self._data[part]):
                raise SystemExit("what was pulled is not what was pushed")
        return seconds

    def checksum(self) -> float:
        """Seconds of hashing everything once; push and pull hash on both sides."""
        begin = time.perf_counter()
        for start in range(0, self._data.size, wire.CHUNK_BYTES):
            xxhash.xxh3_64_intdigest(self._data[start : start + wire.CHUNK_BYTES])
        return time.perf_counter() - begin


def measure(client: Client, size: int, rounds: int) -> None:
    """Alternate the two, and print medians."""
    kinds: dict[str, Callable[[], Any]] = {
        "bare_push": client.bare_push,
        "push": client.push,
        "bare_pull": client.bare_pull,
        "pull": client.pull,
        "checksum": client.checksum,
    }
    seconds: dict[str, list[Any]] = {name: [] for name in kinds}
    # The first round touches the pools' pages and does not count.
    for turn in range(rounds + 1):
        for name, action in kinds.items():
            found = action()
            if turn:
                seconds[name].append(found)
    pushes = [found[0] for found in seconds["push"]]
    for metric, ours, bare in (
        ("push", pushes, seconds["bare_push"]),
        ("pull", seconds["pull"], seconds["bare_pull"]),
    ):
        value, baseline = (size / statistics.median(part) / 1e9 for part in (ours, bare))
        report(f"{metric}_{size // MIB}MiB", value, "GB/s", BASELINE, baseline)
    whole = statistics.median(pushes)
    report("checksum_once", statistics.median(seconds["checksum"]), "s", "push", whole)
    seals = statistics.median(found[1] for found in seconds["push"])
    report("seal_fsync", seals, "s", "push", whole)
    commits = statistics.median(found[2] for found in seconds["push"])
    report("commit", commits, "s", "push", whole)


def measure_small(found: dict[str, str], pid: int, rounds: int) -> None:
    """CPU of both sides for many small tensors, against one of as many bytes."""
    size = SMALL * SMALL_BYTES
    clients = {
        "small": Client(found, size, "default/small", SMALL_BYTES),
        "one": Client(found, size, "default/one", size),
    }
    server = psutil.Process(pid)

    def cpu() -> float:
        theirs = server.cpu_times()
        return theirs.user + theirs.system + time.process_time()

    spent: dict[str, list[float]] = {
        f"{kind} {name}": [] for kind in ("push", "pull") for name in clients
    }
    for turn in range(rounds + 1):
        for name, client in clients.items():
            for kind, action in (("push", client.push), ("pull", client.pull)):
                begin = cpu()
                action()
                if turn:
                    spent[f"{kind} {name}"].append(cpu() - begin)
    middle = {name: statistics.median(seconds) for name, seconds in spent.items()}
    for kind in ("push", "pull"):
        report(
            f"{kind} of {SMALL:,} tensors of 4 KiB",
            middle[f"{kind} small"],
            "s of CPU",
            "one tensor of as many bytes",
            middle[f"{kind} one"],
        )


def report(metric: str, value: float, unit: str, baseline: str, baseline_value: float) -> None:
    """One line."""
    line = {
        "bench": "parameters",
        "metric": metric,
        "value": round(value, 4),
        "unit": unit,
        "baseline": baseline,
        "baseline_value": round(baseline_value, 4),
        "ratio": round(value / baseline_value, 3),
    }
    print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="32 MiB, 3 rounds")
    parser.add_argument("--rounds", type=int, default=7, help="that count")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_stdout()
    size, rounds = (32 * MIB, 3) if options.quick else (256 * MIB, options.rounds)
    if options.serve:
        asyncio.run(serve(options.serve, size))
        return
    with served(__file__, sys.argv[1:]) as server:
        measure(Client(server.told, size), size, rounds)
        measure_small(server.told, server.pid, rounds)


if __name__ == "__main__":
    main()
