"""The nodes as Ray actors, and the job that makes sure that they exist. Nothing else knows Ray."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import ray
import structlog
from ray.util import metrics

from tessera.detached_actor import detached
from tessera.parameters import meter
from tessera.parameters.config import CoordinatorConfig, ServiceAddress, ShardConfig
from tessera.parameters.nodes import CoordinatorNode, ShardNode

log = structlog.get_logger()

COORDINATOR = "tessera-coordinator"
CPUS = 0.25
START_SECONDS = 120.0

_DESCRIPTIONS = {
    meter.PUSHED_BYTES: "Bytes of slices that shards have taken.",
    meter.PULLED_BYTES: "Bytes of slices that shards have sent.",
    meter.VERSIONS_COMMITTED: "Versions committed.",
    meter.DISK_BYTES: "Bytes of slices on a shard's disk.",
}


class RayMeter:
    """Counts in Ray's Prometheus metrics.

    Args:
        node: value of the tag `node`.
    """

    def __init__(self, node: str) -> None:
        self._tags = {"node": node}
        self._counters = {
            name: metrics.Counter(name, _DESCRIPTIONS[name], tag_keys=("node",))
            for name in (meter.PUSHED_BYTES, meter.PULLED_BYTES, meter.VERSIONS_COMMITTED)
        }
        self._gauges = {
            meter.DISK_BYTES: metrics.Gauge(
                meter.DISK_BYTES, _DESCRIPTIONS[meter.DISK_BYTES], tag_keys=("node",)
            )
        }

    def add(self, name: str, value: float) -> None:
        """Raise a counter."""
        if value > 0:
            self._counters[name].inc(value, self._tags)

    def set(self, name: str, value: float) -> None:
        """Set a gauge."""
        self._gauges[name].set(value, self._tags)


class _NodeActor:
    """A node served from a thread: the constructor returns with its server running.

    Args:
        node: what to serve.
    """

    def __init__(self, node: CoordinatorNode | ShardNode) -> None:
        self._node = node
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._serve, name="grpc", daemon=True).start()
        self._run(node.start())

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
        super().__init__(CoordinatorNode(config, _here(place), RayMeter("coordinator")))


class ShardActor(_NodeActor):
    """A shard that lives as long as the cluster."""

    def __init__(self, config: ShardConfig, place: ServiceAddress) -> None:
        super().__init__(ShardNode(config, _here(place), RayMeter(config.name)))


def ensure(
    place: ServiceAddress, coordinator: CoordinatorConfig, shards: list[ShardConfig]
) -> list[str]:
    """Make sure that all actors exist and answer; returns their addresses, coordinator last.

    An actor that exists is left as it is, also if it was made with other settings.
    """
    handles = [
        _actor(ShardActor, f"tessera-{config.name}").remote(config, place) for config in shards
    ]
    handles.append(_actor(CoordinatorActor, COORDINATOR).remote(coordinator, place))
    return list(ray.get([handle.address.remote() for handle in handles], timeout=START_SECONDS))


def _here(place: ServiceAddress) -> ServiceAddress:
    """The place with what only the actor's own process knows."""
    host = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]  # Ray's
    return replace(place, host=host, actor=str(ray.get_runtime_context().get_actor_id()))


def _actor(kind: type, name: str) -> Any:
    return ray.remote(kind).options(**detached(name, cpus=CPUS), max_task_retries=-1)
