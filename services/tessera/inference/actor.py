"""The Ray shell of a replica: one thread with one event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import ray
import structlog

from tessera import errors
from tessera.environment import keep_private
from tessera.inference.config import ReplicaConfig
from tessera.inference.metrics import METRICS
from tessera.log import configure_logging
from tessera.ray_meter import RayMeter

if TYPE_CHECKING:
    from tessera.inference.replica import Replica

log = structlog.get_logger()

_PATIENCE = 10.0
"""Seconds for a replica to find its controller before Ray takes it for created."""


@ray.remote
class ReplicaActor:
    """Serves as soon as it lives, so that it comes back whole after a restart.

    Args:
        config: facts that the replica starts with; its host is the node that it lands on.
    """

    def __init__(self, config: ReplicaConfig) -> None:
        keep_private()
        configure_logging("inference")
        structlog.contextvars.bind_contextvars(replica=config.full_name)
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
            return (
                f"replica {self._config.full_name}: cannot serve, {errors.describe(self._refused)}"
            )
        if self._replica is None:
            return f"replica {self._config.full_name}: looks for its controller"
        return repr(self._replica)

    def ready(self, seconds: float) -> str:
        """Wait until it is registered; returns its address.

        Raises:
            UnavailableError: it is not yet.
            Exception: it can never be: the deployment or its device does not exist.
        """
        if not self._started.wait(seconds):
            raise errors.UnavailableError(
                f"replica {self._config.full_name} is not up after {seconds:g} s",
                reason="NOT_READY",
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

        config = self._config
        meter = RayMeter(
            METRICS,
            tenant=config.tenant,
            deployment=config.deployment,
            replica=str(config.index),
        )
        try:
            self._replica = await start_replica(config, meter)
        except Exception as error:
            if errors.is_transient(error):
                raise
            log.exception("the replica cannot serve")
            self._refused = error
        self._started.set()
