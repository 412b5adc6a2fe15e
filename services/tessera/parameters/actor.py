"""The nodes as Ray actors, and the job that makes sure that they exist. Nothing else knows Ray."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

import ray
import structlog

from tessera.detached_actor import detached
from tessera.environment import keep_private
from tessera.parameters.config import CoordinatorConfig, ServiceAddress, ShardConfig
from tessera.parameters.metrics import METRICS
from tessera.parameters.nodes import CoordinatorNode, ShardNode
from tessera.ray_meter import RayMeter

log = structlog.get_logger()

COORDINATOR = "tessera-coordinator"
CPUS = 0.25
MEMORY = 256 * 1024 * 1024
START_SECONDS = 120.0


class _NodeActor:
    """A node served from a thread: the constructor returns with its server running.

    Args:
        node: what to serve.
    """

    def __init__(self, node: CoordinatorNode | ShardNode) -> None:
        keep_private()
        self._node = node
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._serve, name="grpc", daemon=True).start()
        self._run(node.start())
        # What was imported stays: to look through all of it takes each great collection 40 ms.
        gc.collect()
        gc.freeze()

    def __repr__(self) -> str:
        """As the node says it; Ray asks when the constructor is done, in each of its lives."""
        return repr(self._node)

    def address(self) -> str:
        """host:port of its control."""
        return self._node.address

    def stop(self) -> None:
        """Withdraw and close."""
        self._run(self._node.stop())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(START_SECONDS)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        except BaseException:
            log.exception("the node broke")
        finally:
            # Ray makes a new one; one whose loop is dead would only look alive.
            os._exit(1)


class CoordinatorActor(_NodeActor):
    """A coordinator that lives as long as the cluster."""

    def __init__(self, config: CoordinatorConfig, place: ServiceAddress) -> None:
        super().__init__(
            CoordinatorNode(config, _here(place), RayMeter(METRICS, node="coordinator"))
        )


class ShardActor(_NodeActor):
    """A shard that lives as long as the cluster."""

    def __init__(self, config: ShardConfig, place: ServiceAddress) -> None:
        super().__init__(ShardNode(config, _here(place), RayMeter(METRICS, node=config.name)))


def ensure(
    coordinator_place: ServiceAddress,
    shard_places: list[ServiceAddress],
    coordinator: CoordinatorConfig,
    shards: list[ShardConfig],
    nodes: Sequence[str],
) -> list[str]:
    """Make sure that all actors exist and answer; returns their addresses, coordinator last.

    An actor that exists is left as it is, also if it was made with other settings. `nodes` are
    where the coordinator, then the shards were placed; empty: anywhere.
    """
    first, *others = nodes
    handles = [
        _actor(ShardActor, f"tessera-{config.name}", node).remote(config, place)
        for config, place, node in zip(shards, shard_places, others, strict=True)
    ]
    made = _actor(CoordinatorActor, COORDINATOR, first)
    handles.append(made.remote(coordinator, coordinator_place))
    return list(ray.get([handle.address.remote() for handle in handles], timeout=START_SECONDS))


def _here(place: ServiceAddress) -> ServiceAddress:
    """The place with what only the actor's own process knows."""
    host = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]  # Ray's
    return replace(place, host=host, actor=str(ray.get_runtime_context().get_actor_id()))


def _actor(kind: type, name: str, node: str) -> Any:
    options = detached(name, cpus=CPUS, memory=MEMORY, node=node)
    return ray.remote(kind).options(**options, max_task_retries=-1)
