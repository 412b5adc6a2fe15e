"""One node in a process of its own, to be killed: `python node_process.py --help`.

The token comes on standard input; the process says `ready`, and runs until it is killed. What is
logged goes to standard error: nobody reads on, and a pipe that is full would stop it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

import structlog

from tessera.parameters.config import CoordinatorConfig, ServiceAddress, ShardConfig
from tessera.parameters.local_vault import LocalNewFile
from tessera.parameters.nodes import CoordinatorNode, ShardNode


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", help="coordinator or shard-N")
    parser.add_argument("controller", help="host:port")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--host", default="127.0.0.1", help="where it listens")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--slow", type=float, help="seconds that a block takes longer to write")
    parser.add_argument("--far", action="store_true", help="it hands no files to readers")
    return parser.parse_args()


async def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    given = arguments()
    if given.slow:
        slow_down(given.slow)
    token = sys.stdin.readline().strip()
    place = ServiceAddress(controller=given.controller, token=token, host=given.host)
    if given.name == "coordinator":
        config = CoordinatorConfig(
            data_dir=given.folder, shards=given.shards, replicas=given.replicas
        )
        node = CoordinatorNode(config, place)
    else:
        config = ShardConfig(
            index=int(given.name.removeprefix("shard-")),
            data_dir=given.folder,
            pool_bytes=2**25,
            warm_bytes=0,
            lane=not given.far,
        )
        node = ShardNode(config, place)
    await node.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def slow_down(seconds: float) -> None:
    """Let each block take so much longer to write."""
    write = LocalNewFile.write_at

    def slowly(*args):
        time.sleep(seconds)
        write(*args)

    LocalNewFile.write_at = slowly


asyncio.run(main())
