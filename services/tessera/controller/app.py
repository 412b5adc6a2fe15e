"""A controller: its parts put together, its server and its loops.

    JobService ─► store ─► scheduling ─► outbox ──► commands ──► Ray Jobs API ─► driver
                    ▲                                 (launcher)                    │
                    ├── attempts ◄── Ray job status ◄───────────────────────────────┤
                    └── AttemptService ◄── reports, logs, outcome ◄─────────────────┘
    services ──► ensure jobs ──► parameter service, replicas ──► RegistryService

Each loop sleeps until a signal of another part, or until its own next look: scheduling is woken by
new jobs, given-back resources and changed pools; commands by transitions; services by
registrations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from tessera.api.controller.v1 import (
    access_pb2_grpc,
    attempt_pb2_grpc,
    deployment_pb2_grpc,
    job_pb2_grpc,
    node_pb2_grpc,
    pool_pb2_grpc,
    queue_pb2_grpc,
    registry_pb2_grpc,
    usage_pb2_grpc,
)
from tessera.controller.config import Config
from tessera.controller.encryption import Encryption
from tessera.controller.keys import Keys
from tessera.controller.leadership import Leadership, Loop
from tessera.controller.oidc.exchange import OidcExchange
from tessera.controller.peers.coordinator import CoordinatorClient
from tessera.controller.peers.trainer import Drivers
from tessera.controller.policy.registry import Registry
from tessera.controller.pools.launcher import RayHttp, RayLauncher
from tessera.controller.pools.leased_launcher import LeasedLauncher
from tessera.controller.pools.secrets import Secrets, of_path
from tessera.controller.pools.state import Pools
from tessera.controller.reconcile.attempts import AttemptLoop
from tessera.controller.reconcile.blobs import BlobLoop
from tessera.controller.reconcile.commands import CommandLoop
from tessera.controller.reconcile.deadlines import DeadlineLoop
from tessera.controller.reconcile.loop import run_loop
from tessera.controller.reconcile.retention import RetentionLoop
from tessera.controller.reconcile.scheduling import SchedulingLoop
from tessera.controller.reconcile.services import ServicesLoop
from tessera.controller.runtime import Runtime
from tessera.controller.scheduler import WorkloadScheduler
from tessera.controller.services.access import AccessService
from tessera.controller.services.attempts import AttemptService
from tessera.controller.services.blobs import BlobService
from tessera.controller.services.deployments import DeploymentService
from tessera.controller.services.identity import IdentityService
from tessera.controller.services.jobs import JobService
from tessera.controller.services.nodes import NodeService
from tessera.controller.services.pools import PoolService
from tessera.controller.services.queues import QueueService
from tessera.controller.services.registry import RegistryService
from tessera.controller.services.usage import UsageService
from tessera.controller.signals import ADMISSION, OUTBOX, SERVICES, Signals
from tessera.controller.store import access as store_access
from tessera.controller.store import audit as store_audit
from tessera.controller.store import pools as store_pools
from tessera.controller.store.blobs import BlobStore
from tessera.controller.store.database import Database
from tessera.controller.store.ids import Ids
from tessera.controller.store.logs import Logs
from tessera.controller.trust import CONTROLLER, Trust
from tessera.rpc.address import join
from tessera.rpc.audit import AuditEntry
from tessera.rpc.door import Door
from tessera.rpc.registration import build_version
from tessera.rpc.server import Server
from tessera.rpc.tls import probe

log = structlog.get_logger()

PACKAGE = "tessera.api.controller.v1"
POOLS_PAUSE = 2.0
FIRST_LOOK = 5.0


class Controller:
    """One controller process.

    Args:
        config: what it was told.
        run_loops: whether to act on pools; tests of the services alone do without.
    """

    def __init__(self, config: Config, *, run_loops: bool = True) -> None:
        self._config = config
        self._run_loops = run_loops
        self._tasks: list[asyncio.Task[None]] = []
        self._server: Server | None = None
        secrets = Secrets(folder=config.home / "secrets", variables=config.secrets)
        self._http = RayHttp(secrets)
        self.runtime = _runtime(config, self._http)
        self.failed = asyncio.get_running_loop().create_future()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return 0 if self._server is None else self._server.port

    @property
    def address(self) -> str:
        """What workloads call it at."""
        return self._config.advertise or join(self._config.host, self.port)

    async def start(self) -> int:
        """Open the store, look at the pools, listen; returns the port."""
        runtime = self.runtime
        runtime.database.address = self._config.advertise
        await runtime.database.open()
        if runtime.database.leads:
            await self._put_pools()
        await self._learn_pools()
        await runtime.pools.refresh(FIRST_LOOK)
        runtime.trust.revoke(await runtime.database.read(store_access.revoked))
        encryption = runtime.trust.encryption
        self._server = Server(
            Door(runtime.trust.verifier, audit=self._audit),
            _services(runtime),
            limits=self._config.limits.servers,
            listener=None if encryption is None else encryption.listener,
        )
        await self._server.start(self._config.host, self._config.port)
        if encryption is not None:
            # A certificate that nobody will believe is better refused here than everywhere.
            await asyncio.to_thread(probe.check, self.address, encryption.roots)
        runtime.database.address = self.address
        leadership = Leadership(runtime.database, self._lead)
        await leadership.round()
        self._tasks = [
            asyncio.create_task(leadership.run(), name="leadership"),
            asyncio.create_task(
                run_loop("trust", runtime.signals, (), self._look_at_trust), name="trust"
            ),
        ]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        log.info("controller started", address=self.address, home=str(self._config.home))
        return self.port

    async def stop(self, grace: float = 2.0) -> None:
        """Finish what runs, then close everything; workloads go on."""
        if self._server is not None:
            await self._server.drain(grace)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.runtime.scheduler.close()
        await self._http.close()
        if self.runtime.oidc is not None:
            await self.runtime.oidc.close()
        await self.runtime.database.close()
        log.info("controller stopped")

    async def _audit(self, entry: AuditEntry) -> None:
        await self.runtime.database.write(store_audit.append, entry)

    async def _lead(self) -> list[Loop]:
        """What is done when this process begins to lead, and for as long as it does."""
        runtime = self.runtime
        await self._put_pools()
        await self._learn_pools()
        if not self._run_loops:
            return []
        commands = CommandLoop(runtime, self.address)
        services = ServicesLoop(runtime, self.address)
        loops: list[tuple[str, tuple[str, ...], Callable[[], Awaitable[float]]]] = [
            ("pools", (), self._look_at_pools),
            ("scheduling", (ADMISSION,), SchedulingLoop(runtime).round),
            ("commands", (OUTBOX,), commands.round),
            ("attempts", (), AttemptLoop(runtime).round),
            ("services", (SERVICES,), services.round),
            ("blobs", (), BlobLoop(runtime).round),
            ("deadlines", (), DeadlineLoop(runtime).round),
            ("retention", (), RetentionLoop(runtime).round),
        ]
        return [(name, run_loop(name, runtime.signals, keys, body)) for name, keys, body in loops]

    async def _put_pools(self) -> None:
        """Register the pools that this controller was told of."""
        token = of_path(self._config.ray_token) if self._config.ray_token else ""
        for pool in self._config.pools:
            await self.runtime.database.write(
                store_pools.put,
                replace(pool, token=token),
                tenant="default",
                owner="service:controller",
            )

    async def _learn_pools(self) -> None:
        """Know the pools that the store has; another controller may have registered some."""
        pools = self.runtime.pools
        found = {pool.name: pool for pool in await self.runtime.database.read(store_pools.every)}
        for state in pools.all():
            if state.pool.name not in found:
                pools.remove(state.pool.name)
        for pool in found.values():
            pools.set(pool)

    async def _look_at_pools(self) -> float:
        await self._learn_pools()
        if await self.runtime.pools.refresh():
            self.runtime.signals.wake(ADMISSION, SERVICES)
        return POOLS_PAUSE

    async def _look_at_trust(self) -> float:
        # Another controller may have revoked tokens, or made a key.
        self.runtime.trust.keys.look_again()
        self.runtime.trust.revoke(await self.runtime.database.read(store_access.revoked))
        return POOLS_PAUSE

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and not self.failed.done() and (error := task.exception()):
            self.failed.set_exception(error)


def _runtime(config: Config, http: RayHttp) -> Runtime:
    config.home.mkdir(parents=True, exist_ok=True)
    encryption = (
        Encryption(config.home, CONTROLLER, config.hosts, config.tls_dir) if config.tls else None
    )
    trust = Trust(Keys(config.home / "keys"), encryption)
    registry = Registry(build_version())
    database = Database(config.database_url)
    return Runtime(
        config=config,
        database=database,
        signals=Signals(),
        registry=registry,
        pools=Pools(http),
        launcher=LeasedLauncher(RayLauncher(http), database.check_leads),
        coordinator=CoordinatorClient(registry, trust.shown("parameters")),
        drivers=Drivers(registry, partial(trust.shown, "trainer")),
        logs=Logs(config.home / "logs" / "jobs"),
        blobs=BlobStore(config.home / "blobs"),
        trust=trust,
        ids=Ids(),
        scheduler=WorkloadScheduler(lambda: database.leads),
        oidc=OidcExchange(config.oidc) if config.oidc else None,
    )


def _services(runtime: Runtime) -> list[tuple[str, Callable[[Any], None]]]:
    """The full name of each service, and what adds it to a server."""
    served: tuple[tuple[str, Callable[[Any, Any], None], Any], ...] = (
        ("Access", access_pb2_grpc.add_AccessServiceServicer_to_server, AccessService),
        ("Job", job_pb2_grpc.add_JobServiceServicer_to_server, JobService),
        ("Attempt", attempt_pb2_grpc.add_AttemptServiceServicer_to_server, AttemptService),
        (
            "Deployment",
            deployment_pb2_grpc.add_DeploymentServiceServicer_to_server,
            DeploymentService,
        ),
        ("Registry", registry_pb2_grpc.add_RegistryServiceServicer_to_server, RegistryService),
        ("Identity", registry_pb2_grpc.add_IdentityServiceServicer_to_server, IdentityService),
        ("Pool", pool_pb2_grpc.add_PoolServiceServicer_to_server, PoolService),
        ("Queue", queue_pb2_grpc.add_QueueServiceServicer_to_server, QueueService),
        ("Node", node_pb2_grpc.add_NodeServiceServicer_to_server, NodeService),
        ("Usage", usage_pb2_grpc.add_UsageServiceServicer_to_server, UsageService),
        ("Blob", pool_pb2_grpc.add_BlobServiceServicer_to_server, BlobService),
    )
    return [(f"{PACKAGE}.{name}Service", partial(add, kind(runtime))) for name, add, kind in served]
