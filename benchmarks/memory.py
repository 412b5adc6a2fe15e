"""What a version costs in memory while it is pushed and pulled, and what is given back.

Anonymous memory (Linux) of the process that serves a controller, a coordinator and a shard, and of
the client, beside the version itself, which the client holds anyway. A shard's pool is 512 MiB:
what is larger is written while it comes. `after` is what the server has more than before, some
seconds later. One JSON object per line.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import parameters
from parameters import MIB, Client
from server_process import keep_stdout, served

POOL_MIB = 512
SLACK_MIB = 64
"""Of a reader, beside a quarter of what it reads."""


def anonymous(pid: int | str) -> float:
    """MiB of memory of a process that no file is behind."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this system does not tell")


class Peak:
    """The most that a process has while something is done, more than before."""

    def __init__(self, pid: int | str) -> None:
        self._pid = pid
        self._before = self._most = anonymous(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def end(self) -> float:
        """MiB."""
        self._ended.set()
        self._thread.join()
        return max(0.0, self._most - self._before)

    def _sample(self) -> None:
        while not self._ended.wait(0.02):
            self._most = max(self._most, anonymous(self._pid))


def during(pid: int, work: Callable[[], object]) -> tuple[float, float]:
    """What the server and this process had more at most, in MiB."""
    peaks = Peak(pid), Peak("self")
    work()
    return peaks[0].end(), peaks[1].end()


def measure(found: dict[str, str], pid: int, size: int) -> None:
    client = Client(found, size * MIB)
    # The first of each touches what is used again: connections, threads, warm blocks.
    before = anonymous(pid)
    pushing = during(pid, client.push)
    pulling = during(pid, client.pull)
    time.sleep(3)
    left = anonymous(pid) - before
    for metric, value, baseline, bound in (
        ("push: server", pushing[0], "its pool, and a quarter", POOL_MIB * 1.25),
        ("push: client", pushing[1], "64 MiB", SLACK_MIB),
        ("pull: server", pulling[0], "64 MiB", SLACK_MIB),
        ("pull: client", pulling[1], "a quarter of the version, and 64 MiB", size / 4 + SLACK_MIB),
        ("after: server", left, "its pool", POOL_MIB),
    ):
        print(json.dumps({
            "bench": "memory",
            "metric": f"{size} MiB, {metric}",
            "value": round(value, 1),
            "unit": "MiB",
            "baseline": baseline,
            "baseline_value": round(bound, 1),
            "ratio": round(value / bound, 3),
        }), flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="64 MiB alone")
    parser.add_argument("--sizes", type=int, nargs="*", default=[64, 512, 2048], help="MiB")
    options = parser.parse_args()
    keep_stdout()
    for size in [64] if options.quick else options.sizes:
        with served(parameters.__file__, ["--quick"]) as server:
            measure(server.told, server.pid, size)


if __name__ == "__main__":
    main()
