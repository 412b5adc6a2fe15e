"""One replica: servers, registration, health, and the threads behind them. Knows no Ray."""

from __future__ import annotations

import asyncio
import contextlib

import structlog
import torch

from tessera import errors
from tessera.api.controller.v1 import deployment_pb2, registry_pb2
from tessera.api.controller.v1 import deployment_pb2_grpc as deployment_grpc
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.api.inference.v1 import inference_pb2_grpc as pb_grpc
from tessera.background import Background, comes
from tessera.device import Device
from tessera.inference import metrics
from tessera.inference.activation import Activation
from tessera.inference.config import ReplicaConfig, ServedModel
from tessera.inference.engine.plan import Limits
from tessera.inference.engine.settings import EngineSettings
from tessera.inference.services.inference import InferenceService
from tessera.inference.services.replica import ReplicaService
from tessera.inference.state import ReplicaState
from tessera.inference.weights import Loader
from tessera.meter import Meter
from tessera.rpc.address import join
from tessera.rpc.channel import DEFAULT_SECONDS, aio_channel, bearer, mapped_errors
from tessera.rpc.credentials import settle
from tessera.rpc.door import Door
from tessera.rpc.identity import Verifier
from tessera.rpc.policy.rule import Owner
from tessera.rpc.registration import Registration, endpoint, fetch_verifier
from tessera.rpc.server import Register, Server
from tessera.rpc.tls.identity import listener_of
from tessera.rpc.token import tls_of
from tessera.spec.reference import parse_reference
from tessera.weights.coordinator import Coordinator

log = structlog.get_logger()

TICK_SECONDS = 1.0
_SERVICES = pb.DESCRIPTOR.services_by_name


class Replica:
    """Serves one deployment until it is stopped. Made and used on one event loop.

    Args:
        config: facts that it starts with.
        served: what it serves.
        verifier: of tokens.
        meter: counts.
    """

    def __init__(
        self, config: ReplicaConfig, served: ServedModel, verifier: Verifier, meter: Meter
    ) -> None:
        self._config = config
        self._verifier = verifier
        self._meter = meter
        self._coordinator = Coordinator(config.controller, config.token)
        loader = Loader(
            self._coordinator,
            config.token,
            set_name=served.set,
            owner=f"deployments/{served.tenant}/{config.name}",
            device=Device.for_accelerator(served.accelerator),
        )
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._activation = Activation(served, loader, self._coordinator, self._wake)
        self.state = ReplicaState(served, self._activation, config.stall_seconds)
        owner = Owner(tenant=served.tenant, deployment=served.deployment)
        # People and other languages call it with a token alone.
        listener = listener_of(tls_of(config.token), mutual=False)
        self._server = Server(
            Door(verifier, owner=owner),
            services(self.state, meter),
            limits=config.calls,
            listener=listener,
        )
        self._registration: Registration | None = None
        self._watchdog = Background("watchdog", self._watch)
        self._serving = False
        self.address = ""

    def __repr__(self) -> str:
        """What it is there for: true for as long as it lives."""
        served = self.state.served
        which = "the newest version" if served.follow else f"version {served.version}"
        return f"replica {self._config.full_name}: {which} of {served.set}, at {self.address}"

    async def start(self) -> None:
        """Listen, register, and begin to load; returns before there are weights."""
        torch.set_num_threads(self._config.threads)
        port = await self._server.start(self._config.host)
        await self._server.set_serving(serving=False)
        self.address = join(self._config.host, port)
        announced = endpoint(
            registry_pb2.ROLE_REPLICA,
            self._config.name,
            self.address,
            data_address=self.address,
            labels={"actor": self._config.actor, **self._labels()},
        )
        registration = Registration(
            self._config.controller, self._config.token, announced, self._verifier
        )
        await registration.start()
        self._registration, self._told = registration, self._labels()
        self._watchdog.start()
        self._activation.start()

    async def stop(self, grace: float = 10.0) -> None:
        """Withdraw, finish what runs within `grace` seconds, and end the threads."""
        await self._watchdog.stop()
        if self._registration is not None:
            await self._registration.stop()
        await self._server.drain(grace)
        await asyncio.to_thread(self._activation.close)
        self._coordinator.close()

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody cares any more.
            self._loop.call_soon_threadsafe(self._changed.set)

    def _labels(self) -> dict[str, str]:
        return {
            "deployment": self._config.deployment,
            "version": str(self.state.version),
            "state": self.state.phase.value,
            "message": self.state.message,
        }

    async def _watch(self) -> None:
        """Health and labels follow the state: at once when it changes, and at every tick."""
        await comes(self._changed, TICK_SECONDS)
        self._changed.clear()
        if self.state.healthy != self._serving:
            self._serving = not self._serving
            await self._server.set_serving(serving=self._serving)
            log.info("health", serving=self._serving, message=self.state.message)
        if (labels := self._labels()) != self._told and self._registration is not None:
            self._told = labels
            self._registration.set_labels(labels)
        if self.state.engine is not None:
            status = self.state.engine.status()
            # Ray forgets a gauge that is not set for 20 seconds.
            self._meter.record(metrics.VERSION, status.version)
            self._meter.record(metrics.LAG, self.state.lag)
            self._meter.record(metrics.RUNNING, status.running)
            self._meter.record(metrics.WAITING, status.waiting)
            self._meter.record(metrics.FREE_BLOCKS, status.free_blocks)


def services(state: ReplicaState, meter: Meter) -> list[tuple[str, Register]]:
    """What a replica's server offers."""
    inference, steering = InferenceService(state, meter), ReplicaService(state)
    return [
        (
            _SERVICES["InferenceService"].full_name,
            lambda server: pb_grpc.add_InferenceServiceServicer_to_server(inference, server),
        ),
        (
            _SERVICES["ReplicaService"].full_name,
            lambda server: pb_grpc.add_ReplicaServiceServicer_to_server(steering, server),
        ),
    ]


async def fetch_served(config: ReplicaConfig) -> ServedModel:
    """What the controller says that a deployment serves.

    Raises:
        NotFoundError: there is no such deployment any more.
    """
    async with aio_channel(config.controller, tls_of(config.token)) as channel:
        stub = deployment_grpc.DeploymentServiceStub(channel)
        with mapped_errors():
            reply = await stub.GetDeployment(
                deployment_pb2.GetDeploymentRequest(name=config.deployment),
                metadata=bearer(config.token),
                timeout=DEFAULT_SECONDS,
                wait_for_ready=True,
            )
    return to_served(reply.deployment)


def to_served(deployment: deployment_pb2.Deployment) -> ServedModel:
    """A deployment as the replica sees it."""
    spec, bounds = deployment.spec, deployment.spec.engine
    tenant = deployment.name.split("/")[1]
    reference = parse_reference(spec.model)
    limits = Limits(
        max_batch=bounds.max_batch or Limits().max_batch,
        max_waiting=(
            bounds.max_waiting if bounds.HasField("max_waiting") else Limits().max_waiting
        ),
    )
    return ServedModel(
        deployment=spec.name,
        tenant=tenant,
        set=f"{tenant}/{reference.set_of(tenant, 'model')}",
        version=reference.version,
        max_lag=spec.max_lag if spec.HasField("max_lag") else None,
        accelerator=spec.accelerator.type,
        engine=EngineSettings(
            limits=limits, block_size=bounds.block_size or 16, blocks=bounds.blocks
        ),
    )


async def start_replica(config: ReplicaConfig, meter: Meter) -> Replica:
    """Make and start a replica; what passes, such as a controller that restarts, is waited for.

    Raises:
        TesseraError: it can never start: there is no such deployment, or no such device here.
    """
    while True:
        try:
            verifier = await asyncio.to_thread(
                fetch_verifier, config.controller, "inference", tls_of(config.token)
            )
            await settle(config.token)
            served = await fetch_served(config)
            replica = Replica(config, served, verifier, meter)
            await replica.start()
        except errors.TesseraError as error:
            if not error.transient:
                raise
            log.warning("the replica cannot start yet", reason=error.reason, message=error.message)
            await asyncio.sleep(TICK_SECONDS)
        else:
            return replica
