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
from tessera.accelerator import is_particular, resource_of
from tessera.api.controller.v1 import registry_pb2
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.api.inference.v1 import inference_pb2_grpc as pb_grpc
from tessera.detached_actor import NAMESPACE, detached
from tessera.inference.actor import ReplicaActor
from tessera.inference.config import ReplicaConfig
from tessera.rpc.channel import aio_channel, bearer, mapped_errors
from tessera.rpc.limits import LIMITS, CallLimits
from tessera.rpc.registration import resolve
from tessera.rpc.tls.names import replica_name
from tessera.rpc.token import Token, tls_of

log = structlog.get_logger()

READY_SECONDS = 120.0
DRAIN_SECONDS = 30.0
_STOP_SECONDS = 5.0
_PART = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedReplicas:
    """What should exist.

    Args:
        controller: its host:port.
        token: of the deployment's replicas.
        tenant: whose the deployment is.
        deployment: name, without tenant.
        generation: of what is wanted; replicas of another one are ended, never taken over.
        replicas: how many.
        cpus: of each.
        accelerator_type: of each, for example `H100`; `GPU` takes any; empty: none.
        accelerator_count: of each.
        memory: of each, in bytes; 0: none is reserved.
        nodes: where each was placed; none: anywhere.
        calls: what callers may have of each one's server.
    """

    controller: str
    token: Token
    tenant: str
    deployment: str
    generation: str
    replicas: int
    cpus: float
    accelerator_type: str = ""
    accelerator_count: float = 1.0
    memory: int = 0
    nodes: tuple[str, ...] = ()
    calls: CallLimits = LIMITS

    def __post_init__(self) -> None:
        for part in (self.tenant, self.deployment, self.generation):
            if not _PART.fullmatch(part):
                raise ValueError(f"{part!r} is no part of an actor's name")

    def actor_name(self, index: int) -> str:
        """Of one replica: no two tenants, deployments or generations have one of the same name."""
        return f"{self._prefix}{index}/{self.generation}"

    def surplus(self, existing: list[str]) -> dict[str, int]:
        """Names of actors that exist and should not, and their indices in the registry."""
        wanted = {self.actor_name(index) for index in range(self.replicas)}
        found = [name for name in existing if name.startswith(self._prefix) and name not in wanted]
        return {name: int(name.removeprefix(self._prefix).partition("/")[0]) for name in found}

    @property
    def _prefix(self) -> str:
        # Neither a tenant nor a deployment has a slash in its name.
        return f"tessera-replica/{self.tenant}/{self.deployment}/"


def ensure(wanted: WantedReplicas) -> None:
    """Make it so; returns when every replica is registered and every other one is gone.

    Raises:
        TesseraError: a replica can never serve.
    """
    for name, index in wanted.surplus(list_named_actors()).items():
        _remove(wanted, name, index)
    actors = [_actor(wanted, index) for index in range(wanted.replicas)]
    for index, actor in enumerate(actors):
        address = ray.get(actor.ready.remote(READY_SECONDS), timeout=READY_SECONDS + 10)
        log.info("replica is up", replica=f"{wanted.deployment}/{index}", address=address)


def _actor(wanted: WantedReplicas, index: int) -> Any:
    config = ReplicaConfig(
        controller=wanted.controller,
        token=wanted.token,
        tenant=wanted.tenant,
        deployment=wanted.deployment,
        index=index,
        cpus=wanted.cpus,
        calls=wanted.calls,
    )
    options: dict[str, Any] = {}
    match resource_of(wanted.accelerator_type):
        case "TPU":
            options["resources"] = {"TPU": wanted.accelerator_count}
        case "GPU":
            options["num_gpus"] = wanted.accelerator_count
    if is_particular(wanted.accelerator_type):
        options["accelerator_type"] = wanted.accelerator_type
    place = detached(
        wanted.actor_name(index),
        cpus=wanted.cpus,
        memory=wanted.memory,
        node=wanted.nodes[index] if index < len(wanted.nodes) else "",
    )
    return ReplicaActor.options(  # type: ignore[attr-defined]
        **place, max_concurrency=4, **options
    ).remote(config)


def _remove(wanted: WantedReplicas, name: str, index: int) -> None:
    log.info("replica ends", replica=f"{wanted.deployment}/{index}", actor=name)
    try:
        asyncio.run(
            drain(wanted.controller, wanted.token, wanted.tenant, f"{wanted.deployment}/{index}")
        )
    except errors.TesseraError as error:
        log.warning("not drained", reason=error.reason, message=error.message)
    # It may be gone by itself meanwhile.
    with contextlib.suppress(ValueError):
        actor = ray.get_actor(name, namespace=NAMESPACE)
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(actor.stop.remote(1.0), timeout=_STOP_SECONDS)
        ray.kill(actor, no_restart=True)


async def drain(controller: str, token: Token, tenant: str, name: str) -> None:
    """Let a replica finish what it has begun, for a while."""
    endpoints = await resolve(controller, token, registry_pb2.ROLE_REPLICA, name)
    for endpoint in endpoints:
        proved = replica_name(tenant, name.rpartition("/")[0])
        async with aio_channel(endpoint.control_address, tls_of(token), proved) as channel:
            with mapped_errors():
                await pb_grpc.ReplicaServiceStub(channel).Drain(
                    pb.DrainRequest(), metadata=bearer(token), timeout=DRAIN_SECONDS
                )
