"""One node in a process of its own, to be killed.

    python node_process.py KIND CONTROLLER DIR [SECONDS]     a shard may have a slow disk

The token comes on standard input; the process says `ready`, and runs until it is killed. What is
logged goes to standard error: nobody reads on, and a pipe that is full would stop it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import structlog

from tessera.parameters import pending
from tessera.parameters.config import CoordinatorConfig, ServiceAddress, ShardConfig
from tessera.parameters.nodes import CoordinatorNode, ShardNode


async def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    kind, controller, folder, *slow = sys.argv[1:]
    if slow:
        slow_down(float(slow[0]))
    place = ServiceAddress(controller=controller, token=sys.stdin.readline().strip())
    if kind == "coordinator":
        shards, replicas = map(int, os.environ.get("TESSERA_TEST_SHARDS", "2,1").split(","))
        config = CoordinatorConfig(data_dir=Path(folder), shards=shards, replicas=replicas)
        node = CoordinatorNode(config, place)
    else:
        index = int(kind.removeprefix("shard-"))
        config = ShardConfig(index=index, data_dir=Path(folder), pool_bytes=2**25, warm_bytes=0)
        node = ShardNode(config, place)
    await node.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def slow_down(seconds: float) -> None:
    """Let each block take so much longer to write."""
    write = pending._write

    def slowly(*args):
        time.sleep(seconds)
        write(*args)

    pending._write = slowly


asyncio.run(main())
