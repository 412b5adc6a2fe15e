"""The Ray shell of a replica: one thread with one event loop, and Ray's metrics."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import ray
import structlog
from ray.util import metrics

from tessera import errors
from tessera.inference.config import ReplicaConfig
from tessera.log import configure_logging

if TYPE_CHECKING:
    from tessera.inference.replica import Replica

log = structlog.get_logger()

_PATIENCE = 10.0
"""Seconds for a replica to find its controller before Ray takes it for created."""

_BOUNDARIES = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]

_LOAD = {
    "version": "Version of the weights that new requests get.",
    "running_requests": "Requests that hold blocks of the cache.",
    "waiting_requests": "Requests that wait for blocks.",
    "free_blocks": "Blocks of the cache that are free.",
}


class RayMeter:
    """Counts into Ray's Prometheus endpoint.

    Args:
        deployment: tag of every series.
        replica: its index, another tag.
    """

    def __init__(self, deployment: str, replica: int) -> None:
        tags = {"deployment": deployment, "replica": str(replica)}
        keys = tuple(tags)
        self._requests = metrics.Counter(
            "tessera_inference_requests_total",
            description="Requests that have ended, by method and outcome.",
            tag_keys=(*keys, "method", "outcome"),
        )
        self._corrupted = metrics.Counter(
            "tessera_inference_corrupted_requests_total",
            description="Requests that ended because the model's numbers were not finite.",
            tag_keys=(*keys, "method"),
        )
        self._tokens = metrics.Counter(
            "tessera_inference_tokens_total",
            description="Tokens that were written.",
            tag_keys=keys,
        )
        self._first = metrics.Histogram(
            "tessera_inference_time_to_first_token_seconds",
            description="Seconds from a request to its first token.",
            boundaries=_BOUNDARIES,
            tag_keys=keys,
        )
        self._load = {
            name: metrics.Gauge(f"tessera_inference_{name}", description=text, tag_keys=keys)
            for name, text in _LOAD.items()
        }
        every = (self._requests, self._corrupted, self._tokens, self._first, *self._load.values())
        for metric in every:
            metric.set_default_tags(tags)

    def request_ended(self, method: str, outcome: str) -> None:
        """Count a request."""
        self._requests.inc(1, {"method": method, "outcome": outcome})

    def request_corrupted(self, method: str) -> None:
        """Count a request that broke."""
        self._corrupted.inc(1, {"method": method})

    def tokens_written(self, count: int) -> None:
        """Count tokens; Ray takes no zero."""
        if count:
            self._tokens.inc(count)

    def first_token(self, seconds: float) -> None:
        """Observe a time to first token."""
        self._first.observe(seconds)

    def load(self, *, version: int, running: int, waiting: int, free_blocks: int) -> None:
        """Set the gauges; Ray forgets one that is not set for 20 seconds."""
        self._load["version"].set(version)
        self._load["running_requests"].set(running)
        self._load["waiting_requests"].set(waiting)
        self._load["free_blocks"].set(free_blocks)


@ray.remote
class ReplicaActor:
    """Serves as soon as it lives, so that it comes back whole after a restart.

    Args:
        config: facts that the replica starts with; its host is the node that it lands on.
    """

    def __init__(self, config: ReplicaConfig) -> None:
        configure_logging("inference")
        structlog.contextvars.bind_contextvars(replica=config.name)
        host = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        actor = str(ray.get_runtime_context().get_actor_id())
        self._config = replace(config, host=host, actor=actor)
        self._loop = asyncio.new_event_loop()
        self._replica: Replica | None = None
        self._started = threading.Event()
        self._refused: Exception | None = None
        threading.Thread(target=self._serve, name="loop", daemon=True).start()
        # So that Ray, which asks what it is right after this, is told what it serves.
        self._started.wait(_PATIENCE)

    def __repr__(self) -> str:
        """As the replica says it; Ray asks when the constructor is done, in each of its lives."""
        if self._refused is not None:
            return f"replica {self._config.name}: cannot serve, {errors.describe(self._refused)}"
        if self._replica is None:
            return f"replica {self._config.name}: looks for its controller"
        return repr(self._replica)

    def ready(self, seconds: float) -> str:
        """Wait until it is registered; returns its address.

        Raises:
            UnavailableError: it is not yet.
            Exception: it can never be: the deployment or its device does not exist.
        """
        if not self._started.wait(seconds):
            raise errors.UnavailableError(
                f"replica {self._config.name} is not up after {seconds:g} s", reason="NOT_READY"
            )
        if self._refused is not None:
            raise self._refused
        assert self._replica is not None
        return self._replica.address

    def stop(self, grace: float) -> None:
        """Withdraw and end what runs within `grace` seconds."""
        if self._replica is not None:
            asyncio.run_coroutine_threadsafe(self._replica.stop(grace), self._loop).result()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._start())
            self._loop.run_forever()
        except BaseException:
            log.exception("the replica broke")
            # Ray makes a new one; one whose loop is dead would only look alive.
            os._exit(1)

    async def _start(self) -> None:
        # Here, for the job that makes the actors would import torch for nothing.
        from tessera.inference.replica import start_replica  # noqa: PLC0415

        meter = RayMeter(self._config.deployment, self._config.index)
        try:
            self._replica = await start_replica(self._config, meter)
        except Exception as error:
            if errors.is_transient(error):
                raise
            log.exception("the replica cannot serve")
            self._refused = error
        self._started.set()
