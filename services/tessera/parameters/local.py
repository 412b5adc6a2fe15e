"""The whole service inside this process, on threads of its own: for tests and benchmarks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from tessera.parameters.config import (
    LOST_SECONDS,
    CoordinatorConfig,
    ServiceAddress,
    ShardConfig,
)
from tessera.parameters.nodes import CoordinatorNode, ShardNode
from tessera.parameters.quota import DEFAULT, TenantQuota
from tessera.rpc.limits import LIMITS, CallLimits
from tessera.rpc.token import Token

_START_SECONDS = 60.0


class LocalParameters:
    """A running coordinator and its shards; `stop` ends them."""

    def __init__(self, nodes: list[CoordinatorNode | ShardNode]) -> None:
        self.nodes = nodes
        self._stopped: set[int] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="parameters", daemon=True
        )
        self._thread.start()
        for node in nodes:
            self._run(node.start())

    def stop_shard(self, index: int) -> None:
        """End one of the shards; the others and the coordinator go on."""
        self._run(self.nodes[index].stop())
        self._stopped.add(index)

    def start_shard(self, index: int) -> None:
        """Start it again, with what is in its folder."""
        self._run(self.nodes[index].start())
        self._stopped.discard(index)

    def stop(self) -> None:
        """End the servers."""
        for index, node in enumerate(self.nodes):
            if index not in self._stopped:
                self._run(node.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_SECONDS)


def start_parameters(
    controller: str,
    tokens: Sequence[Token],
    data_dir: Path,
    *,
    shards: int = 2,
    disk_cap_bytes: int | None = None,
    replicas: int = 0,
    lost_seconds: float = LOST_SECONDS,
    quota: TenantQuota = DEFAULT,
    calls: CallLimits = LIMITS,
    lane: bool = True,
) -> LocalParameters:
    """Start a coordinator and shards that register with a controller.

    Args:
        controller: host:port of the controller, which must be running.
        tokens: of the coordinator, and of each shard.
        data_dir: gets `coordinator` and `shard-N`.
        shards: how many.
        disk_cap_bytes: for all versions together; None: no limit.
        replicas: shards that should have each piece; 0: two where there are two nodes, else one.
        lost_seconds: after which a shard that is away counts as gone.
        quota: of each tenant.
        calls: what callers may have of each server.
        lane: whether readers of this host get files by descriptor.
    """
    coordinator, *places = (
        ServiceAddress(controller=controller, token=token) for token in tokens[: shards + 1]
    )
    nodes: list[CoordinatorNode | ShardNode] = [
        # Nothing is warm: to touch memory takes longer than what most tests push.
        ShardNode(
            ShardConfig(
                index=index,
                data_dir=data_dir / f"shard-{index}",
                warm_bytes=0,
                calls=calls,
                lane=lane,
            ),
            place,
        )
        for index, place in enumerate(places)
    ]
    config = CoordinatorConfig(
        data_dir=data_dir / "coordinator",
        shards=shards,
        disk_cap_bytes=disk_cap_bytes,
        replicas=replicas,
        lost_seconds=lost_seconds,
        quota=quota,
        calls=calls,
    )
    return LocalParameters([*nodes, CoordinatorNode(config, coordinator)])
