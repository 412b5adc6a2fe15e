"""Reads and writes of one host by descriptor, against a copy in memory and the same by gRPC.

`hand-over` is a ticket and the descriptors that it is good for, over a connection that is there;
`pull` is all that a reader does, a new connection and the plan among it, and `push` the same of a
writer until its shard has all of it. Files are in the page cache. One separate process serves, and
rounds of all alternate. CPU of a pull or a push is that of both processes. One JSON object per
line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np
import psutil
import structlog

from parameters import MIB, Client, serve
from tessera.rpc.channel import data_channel
from tessera.weights import lane, memory_lane
from tessera.weights.handed_piece import HandedPiece
from tessera.weights.local_slice import LocalSlice
from tessera.weights.plan import Wanted, plan
from tessera.weights.pull import Want, pull
from tessera.weights.push import push

SIZES = (MIB, 64 * MIB, 1024 * MIB)
PUSHED = 256 * MIB
TENSOR_BYTES = 64 * MIB
LIMIT_MS = 5.0
ALONE = ("memcpy", "copy")
"""In which no other process has a part."""
COPIED = 64 * MIB
"""From here on copies are compared: less stays in a processor's own cache."""


class Reader(Client):
    """Reads one version of so many bytes in several ways."""

    def __init__(self, found: dict[str, str], size: int) -> None:
        super().__init__(found, size, f"default/of-{size}", min(size, TENSOR_BYTES))
        self.push()
        self._manifest = self._client.get_manifest(self._set)
        self._connection = data_channel(self._manifest.shards[0].data_address)
        self._open = ExitStack()
        self._wants = [
            Want(group="model", name=t.name, box=t.box, out=self.part(self._out, i))
            for i, t in enumerate(self._tensors)
        ]

    def _handed(self) -> AbstractContextManager[dict[str, HandedPiece]]:
        names = sorted({source.piece for source in self._manifest.slices})
        return lane.handed(self._connection, self._manifest.version, names, self._token, 0)

    def hand_over(self) -> None:
        """Descriptors, and nothing else."""
        with self._handed():
            pass

    def copying(self) -> Callable[[], None]:
        """The copy alone, of pieces that stay open."""
        wanted = [Wanted(i, want.box) for i, want in enumerate(self._wants)]
        transfers = plan(self._manifest, wanted)
        pieces = self._open.enter_context(self._handed())

        def copy() -> None:
            if not lane.copy(pieces, transfers, self._wants).all():
                raise SystemExit("not all of it could be copied")

        return copy

    def memcpy(self) -> None:
        """The same bytes from memory to memory."""
        self._out[:] = self._data

    def by_lane(self) -> None:
        """A whole pull."""
        pull(self._manifest, self._wants, self._token)

    def by_grpc(self) -> None:
        """The same without descriptors."""
        with patch.object(lane, "LEAST_BYTES", sys.maxsize):
            pull(self._manifest, self._wants, self._token)

    def forget(self) -> None:
        """Before a read that is checked."""
        self._out[:] = 0

    def check(self) -> None:
        """Whether what was read is what was written."""
        for start in range(0, self._data.size, TENSOR_BYTES):
            part = slice(start, start + TENSOR_BYTES)
            if not np.array_equal(self._out[part], self._data[part]):
                raise SystemExit("what was pulled is not what was pushed")


def measure(found: dict[str, str], server: psutil.Process, size: int, rounds: int) -> None:
    """Alternate all ways, and print medians."""
    reader = Reader(found, size)
    ways: dict[str, Callable[[], None]] = {
        "memcpy": reader.memcpy,
        "hand-over": reader.hand_over,
        "copy": reader.copying(),
        "lane": reader.by_lane,
        "grpc": reader.by_grpc,
    }
    for name in ("copy", "lane", "grpc"):
        reader.forget()
        ways[name]()
        reader.check()

    def cpu(name: str) -> float:
        own, theirs = time.process_time(), server.cpu_times()
        return own if name in ALONE else own + theirs.user + theirs.system

    walls: dict[str, list[float]] = {name: [] for name in ways}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            # What is short is done many times: the clock of a process's CPU is a coarse one.
            repeats = max(1, 16 * MIB // size) if name != "hand-over" else 16
            begin, before = time.perf_counter(), cpu(name)
            for _ in range(repeats):
                way()
            spent[name].append((cpu(name) - before) / repeats)
            walls[name].append((time.perf_counter() - begin) / repeats)
    tell(size, {name: statistics.median(each) for name, each in walls.items()},
         {name: statistics.median(each) for name, each in spent.items()})  # fmt: skip


class Writer(Client):
    """Pushes so many bytes in several ways."""

    def __init__(self, found: dict[str, str], server: psutil.Process, size: int) -> None:
        super().__init__(found, size, "default/pushed", TENSOR_BYTES)
        self._server = server

    def pushed(self, least: int) -> tuple[float, float]:
        """Seconds of a push, and CPU; `least` bytes are worth the lane."""
        self._step += 1
        opened = self._client.open_version(self._set, self._epoch, self._step, self._tensors)
        slices = [
            LocalSlice(tensor=i, group="model", box=t.box, data=self.part(self._data, i))
            for i, t in enumerate(self._tensors)
        ]
        with patch.object(memory_lane, "LEAST_BYTES", least):
            begin, before = time.perf_counter(), self._cpu()
            push(opened, 0, slices, self._token)
            spent = time.perf_counter() - begin, self._cpu() - before
        self._client.seal_version(opened)
        self._client.commit_version(opened)
        return spent

    def _cpu(self) -> float:
        theirs = self._server.cpu_times()
        return theirs.user + theirs.system + time.process_time()


def measure_push(found: dict[str, str], server: psutil.Process, rounds: int) -> None:
    """Alternate the two, and print medians; the first round touches the pool's pages."""
    writer = Writer(found, server, PUSHED)
    spent = [(writer.pushed(1), writer.pushed(sys.maxsize)) for _ in range(rounds + 1)][1:]
    ours, theirs = (np.median([each[way] for each in spent], axis=0) for way in (0, 1))
    rate, peer = (PUSHED / float(each[0]) / 1e9 for each in (ours, theirs))
    what = f"push of {PUSHED // MIB} MiB"
    report(what, rate, "GB/s", "the same over gRPC", peer)
    report(f"{what}: CPU", float(ours[1]), "s", "the same over gRPC", float(theirs[1]))


def tell(size: int, wall: dict[str, float], cpu: dict[str, float]) -> None:
    """Lines of one size."""
    what = f"{size // MIB} MiB"
    rate = {name: size / seconds / 1e9 for name, seconds in wall.items()}
    report(f"hand-over of {what}", wall["hand-over"] * 1e3, "ms", "what it may take", LIMIT_MS)
    if size >= COPIED:
        peer = "a bare copy in memory"
        report(f"copy of {what}, verified", rate["copy"], "GB/s", peer, rate["memcpy"])
        report(f"copy of {what}, verified: CPU", cpu["copy"], "s", peer, cpu["memcpy"])
    report(f"pull of {what}", rate["lane"], "GB/s", "the same over gRPC", rate["grpc"])
    report(f"pull of {what}: CPU", cpu["lane"], "s", "the same over gRPC", cpu["grpc"])


def report(metric: str, value: float, unit: str, baseline: str, baseline_value: float) -> None:
    """One line."""
    line = {
        "bench": "lane",
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
    parser.add_argument("--quick", action="store_true", help="without 1 GiB")
    parser.add_argument("--rounds", type=int, default=9, help="that count")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    # Standard output is for the results.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    if options.serve:
        asyncio.run(serve(options.serve, MIB, lane=True))
        return
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder:
        command = [sys.executable, __file__, "--serve", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                ready = next(line for line in server.stdout if line.startswith("READY "))
                found = json.loads(ready.removeprefix("READY "))
                for size in SIZES[:-1] if options.quick else SIZES:
                    measure(found, psutil.Process(server.pid), size, options.rounds)
                measure_push(found, psutil.Process(server.pid), options.rounds)
            finally:
                server.kill()


if __name__ == "__main__":
    main()
