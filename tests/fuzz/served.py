"""The platform under test: every service, on one loop of one process; Ray alone is not there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
from in_process import InProcessPlatform
from published import STARS, TAGS, TEXT, Published
from ray_dashboard import Dashboard

from tessera.controller.app import Controller
from tessera.controller.config import Config
from tessera.controller.policy.records import Pool
from tessera.inference.config import ReplicaConfig
from tessera.inference.replica import Replica, start_replica
from tessera.meter import NoMeter
from tessera.parameters.config import CoordinatorConfig, ServiceAddress, ShardConfig
from tessera.parameters.nodes import CoordinatorNode, ShardNode
from tessera.parameters.quota import TenantQuota
from tessera.rpc.limits import LIMITS
from tessera.rpc.platform_limits import PlatformLimits, TenantLimits, WeightLimits
from tessera.rpc.principal import Principal, Role
from tessera.rpc.registration import fetch_verifier
from tessera.text import special
from tessera.text.training import train
from tessera.trainer.control.attempt import AttemptRecord
from tessera.trainer.driver import _server as driver_server

from .world import DRIVEN, World

TENANT = TenantLimits(
    jobs=60,
    jobs_of_principal=40,
    deployments=20,
    deployments_of_principal=15,
    watches=200,
    watches_of_principal=100,
)
"""Small: quotas are met, and a look at all that is open stays short."""
STORED = TenantQuota(
    each=WeightLimits(sets=50, versions=400, open_versions=30, pins=200, watchers=100)
)
KEEP_SECONDS = 0.2


class _Fresh:
    """A token of the key that signs now."""

    tls = None

    def __init__(self, controller: Controller, **principal: Any) -> None:
        self._controller = controller
        self._principal = Principal(**principal)
        self._issued: tuple[Any, str] = (None, "")

    @property
    def token(self) -> str:
        issuer = self._controller.runtime.issuer
        if self._issued[0] is not issuer:
            self._issued = (issuer, issuer.issue(self._principal))
        return self._issued[1]


class Served:
    """Starts everything in a folder; made and used on one loop."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.world = World({})
        self._ray = Dashboard(heard=self._tickets)
        self._strange = Dashboard(strange=True)
        self._replicas: list[Replica] = []
        self._nodes: list[Any] = []
        self._keeping: list[asyncio.Task[None]] = []

    @property
    def issuer(self) -> Any:
        return self.controller.runtime.issuer

    async def start(self) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        local = Pool(name="local", dashboard_url=self._ray.address, ray_address="127.0.0.1:1")
        config = Config(
            host="127.0.0.1", port=0, home=self._home / "controller", shards=0, pools=(local,),
            limits=PlatformLimits(tenant=TENANT),
        )  # fmt: skip
        self.controller = Controller(config)
        await self.controller.start()
        await self._start_parameters()
        await self._start_driver()
        await self._start_replicas()
        names = ("coordinator", "shard", "shard-1")
        self.world.addresses.update(
            {name: node.address for name, node in zip(names, self._nodes, strict=True)},
            **{replica.state.served.deployment: replica.address for replica in self._replicas},
            controller=self.controller.address,
            data=self._nodes[1].data_address,
            driver=self.driver_address,
            ray=self._ray.address,
            nowhere="127.0.0.1:1",
        )
        self.world.addresses["not ray"] = self._strange.address
        self._keeping = [asyncio.create_task(self._keep())]

    async def _start_parameters(self) -> None:
        address = self.controller.address

        def place(role: Role, subject: str) -> ServiceAddress:
            token = _Fresh(self.controller, subject=subject, role=role)
            return ServiceAddress(controller=address, token=token)

        folder = self._home / "parameters"
        shards = [
            ShardNode(
                ShardConfig(index=n, data_dir=folder / f"shard-{n}"),
                place(Role.SHARD, f"shard-{n}"),
            )
            for n in range(2)
        ]
        coordinator = CoordinatorNode(
            CoordinatorConfig(data_dir=folder / "coordinator", quota=STORED),
            place(Role.COORDINATOR, "coordinator"),
        )
        for node in (*shards, coordinator):
            await node.start()
        self._nodes = [coordinator, *shards]

    async def _start_driver(self) -> None:
        self.record = AttemptRecord(job=DRIVEN.job, attempt=1, total_steps=10, world_size=4)
        address = self.controller.address
        self._verifier = await asyncio.to_thread(fetch_verifier, address, "trainer")
        server = driver_server(self.record, "default", self._verifier, LIMITS, None)
        self.driver_address = f"127.0.0.1:{await server.start()}"
        self._driver = server

    async def _start_replicas(self) -> None:
        loop = asyncio.get_running_loop()
        platform = SimpleNamespace(
            address=self.controller.address,
            controller=self.controller,
            run=lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(60),
        )
        for name in ("issue", "attempt_token", "deploy", "_write"):
            setattr(platform, name, getattr(InProcessPlatform, name).__get__(platform))
        gpt = train("byte_bpe", iter([TEXT]), 320, special.GPT)
        bert = train("wordpiece", iter([TEXT]), 200, special.BERT)
        seq2seq = train("byte_bpe", iter([TEXT]), 300, special.SEQ2SEQ)
        for made in (
            Published(platform, "tiny", "gpt", gpt),
            Published(platform, "translator", "transformer", seq2seq, kind="translation"),
            Published(platform, "words", "bert", bert, kind="masked_language_modeling"),
            Published(platform, "stars", "bert", bert, kind="classification", labels=STARS),
            Published(platform, "names", "bert", bert, kind="token_classification", labels=TAGS),
            Published(platform, "reader", "bert", bert, kind="question_answering"),
            Published(platform, "meaning", "bert", bert, kind="sentence_embedding"),
        ):
            await asyncio.to_thread(made.publish)
            await asyncio.to_thread(platform.deploy, made.name, f"{made.name}@1")
            token = _Fresh(
                self.controller, subject=f"replica:default/{made.name}", role=Role.REPLICA,
                deployment=made.name, reads=(f"default/{made.name}",),
            )  # fmt: skip
            config = ReplicaConfig(
                controller=self.controller.address, token=token, tenant="default",
                deployment=made.name, index=0,
            )  # fmt: skip
            self._replicas.append(await start_replica(config, NoMeter()))
        for replica in self._replicas:
            while not replica.state.healthy:  # noqa: ASYNC110 - nothing tells when it is
                await asyncio.sleep(0.05)

    async def _keep(self) -> None:
        """What would end by itself in a life is begun again here: drained replicas, a driver."""
        while True:
            trust = self.controller.runtime.trust
            self._verifier.update(trust.keys.public, trust.revoked)
            for replica in self._replicas:
                replica.state._draining = False
            self.record.stop = False
            await asyncio.sleep(KEEP_SECONDS)

    def _tickets(self, tickets: str) -> None:
        for ticket in tickets.split():
            self.world.hear("ticket", ticket)

    @property
    def failed(self) -> str:
        """What has ended that should not; empty: nothing."""
        future = self.controller.failed
        return f"a loop ended: {future.exception()!r}" if future.done() else ""

    async def stop(self) -> None:
        for task in self._keeping:
            task.cancel()
        for replica in self._replicas:
            await replica.stop(0.1)
        await self._driver.drain(0.0)
        for node in self._nodes[::-1]:
            with contextlib.suppress(grpc.RpcError):
                await node.stop()
        await self.controller.stop(0.1)


@contextlib.asynccontextmanager
async def serving(home: Path) -> AsyncIterator[Served]:
    """A platform, for as long as the context lasts."""
    served = Served(home)
    await served.start()
    try:
        yield served
    finally:
        await served.stop()
