"""Makes a deployment's actors be as many as they should: those missing are made, others ended."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass
from typing import Any

import ray
import structlog
from ray.util import list_named_actors

from tessera import errors
from tessera.api.controller.v1 import registry_pb2
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.api.inference.v1 import inference_pb2_grpc as pb_grpc
from tessera.detached_actor import NAMESPACE, detached
from tessera.inference.actor import ReplicaActor
from tessera.inference.config import ReplicaConfig
from tessera.rpc.channel import Token, aio_channel, bearer, mapped_errors
from tessera.rpc.registration import resolve

log = structlog.get_logger()

READY_SECONDS = 120.0
DRAIN_SECONDS = 30.0
_STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedReplicas:
    """What should exist.

    Args:
        controller: its host:port.
        token: of the inference service.
        deployment: name, without tenant.
        replicas: how many.
        cpus: of each.
        accelerator_type: of each, for example `H100`; `GPU` takes any; empty: none.
        accelerator_count: of each.
    """

    controller: str
    token: Token
    deployment: str
    replicas: int
    cpus: float
    accelerator_type: str = ""
    accelerator_count: float = 1.0

    def actor_name(self, index: int) -> str:
        """Of one replica."""
        return f"tessera-replica-{self.deployment}-{index}"

    def surplus(self, existing: list[str]) -> list[int]:
        """Indices of actors that exist and should not."""
        pattern = re.compile(rf"tessera-replica-{re.escape(self.deployment)}-(\d+)")
        found = [int(match[1]) for name in existing if (match := pattern.fullmatch(name))]
        return sorted(index for index in found if index >= self.replicas)


def ensure(wanted: WantedReplicas) -> None:
    """Make it so; returns when every replica is registered and every other one is gone.

    Raises:
        TesseraError: a replica can never serve.
    """
    for index in wanted.surplus(list_named_actors()):
        _remove(wanted, index)
    actors = [_actor(wanted, index) for index in range(wanted.replicas)]
    for index, actor in enumerate(actors):
        address = ray.get(actor.ready.remote(READY_SECONDS), timeout=READY_SECONDS + 10)
        log.info("replica is up", replica=f"{wanted.deployment}/{index}", address=address)


def _actor(wanted: WantedReplicas, index: int) -> Any:
    config = ReplicaConfig(
        controller=wanted.controller,
        token=wanted.token,
        deployment=wanted.deployment,
        index=index,
        cpus=wanted.cpus,
    )
    options: dict[str, Any] = {}
    if wanted.accelerator_type:
        options["num_gpus"] = wanted.accelerator_count
        if wanted.accelerator_type != "GPU":
            options["accelerator_type"] = wanted.accelerator_type
    return ReplicaActor.options(  # type: ignore[attr-defined]
        **detached(wanted.actor_name(index), cpus=wanted.cpus), max_concurrency=4, **options
    ).remote(config)


def _remove(wanted: WantedReplicas, index: int) -> None:
    log.info("replica ends", replica=f"{wanted.deployment}/{index}")
    try:
        asyncio.run(drain(wanted.controller, wanted.token, f"{wanted.deployment}/{index}"))
    except errors.TesseraError as error:
        log.warning("not drained", reason=error.reason, message=error.message)
    # It may be gone by itself meanwhile.
    with contextlib.suppress(ValueError):
        actor = ray.get_actor(wanted.actor_name(index), namespace=NAMESPACE)
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(actor.stop.remote(1.0), timeout=_STOP_SECONDS)
        ray.kill(actor, no_restart=True)


async def drain(controller: str, token: Token, name: str) -> None:
    """Let a replica finish what it has begun, for a while."""
    endpoints = await resolve(controller, token, registry_pb2.ROLE_REPLICA, name)
    for endpoint in endpoints:
        async with aio_channel(endpoint.control_address) as channel:
            with mapped_errors():
                await pb_grpc.ReplicaServiceStub(channel).Drain(
                    pb.DrainRequest(), metadata=bearer(token), timeout=DRAIN_SECONDS
                )
