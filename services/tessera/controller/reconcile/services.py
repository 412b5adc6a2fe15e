"""Keeps the parameter service and the replicas standing, by short idempotent Ray jobs."""

from __future__ import annotations

import time
from functools import partial

import structlog

from tessera import errors
from tessera.api.controller.v1 import deployment_pb2
from tessera.controller.policy.deployment import FAILURES
from tessera.controller.policy.desired import Desired, due, missing_endpoints, parameters, replicas
from tessera.controller.policy.outcome import RunStatus, last_traceback
from tessera.controller.policy.records import Deployment, EnsureJob, Placement
from tessera.controller.policy.workloads import SERVICES
from tessera.controller.pools.launcher import Submission, metadata
from tessera.controller.pools.state import PATIENCE, PoolState
from tessera.controller.pools.tasks import PoolTasks
from tessera.controller.runtime import Runtime
from tessera.controller.services import convert
from tessera.controller.signals import ADMISSION
from tessera.controller.store import deployments, ensures, placements, tickets
from tessera.lines import last_line
from tessera.spec.reference import parse_reference

log = structlog.get_logger()

OWNER = "service:controller"
BUSY_PAUSE = 0.5
IDLE_PAUSE = 3.0


class ServicesLoop:
    """Compares what is desired with what is registered.

    Args:
        runtime: the controller's parts.
        address: `host:port` that actors call the controller at.
    """

    def __init__(self, runtime: Runtime, address: str) -> None:
        self._runtime = runtime
        self._database = runtime.database
        self._address = address
        self._missing_since: dict[str, float] = {}
        self._tasks = PoolTasks("services")

    async def round(self) -> float:
        """Follow running ensure jobs, begin those that are due; returns the pause."""
        known = await self._database.read(ensures.every)
        wanted = await self._desired()
        running = {item.pool for item in known.values() if item.status == ensures.RUNNING}
        for pool in running | {desired.pool for desired in wanted}:
            self._tasks.start(pool, partial(self._round_of, pool, wanted))
        await self._tasks.settle(PATIENCE)
        known = await self._database.read(ensures.every)
        await self._forget_ended(wanted, known)
        busy = any(item.status == ensures.RUNNING for item in known.values())
        return BUSY_PAUSE if busy else IDLE_PAUSE

    async def _round_of(self, pool: str, wanted: list[Desired]) -> None:
        """The part of a round that is about one pool."""
        for ensure in (await self._database.read(ensures.every)).values():
            if ensure.status == ensures.RUNNING and ensure.pool == pool:
                await self._follow(ensure)
        known = await self._database.read(ensures.every)
        for desired in wanted:
            if desired.pool == pool:
                await self._consider(desired, known.get(desired.key))

    async def _desired(self) -> list[Desired]:
        config = self._runtime.config
        places = await self._database.read(placements.every)
        wanted = []
        standing = places.get(SERVICES)
        if standing is not None and config.shards:
            folder = str(config.home.resolve() / "parameters")
            wanted.append(
                parameters(
                    standing.pool,
                    shards=config.shards,
                    data_dir=folder,
                    disk_cap=config.disk_cap,
                    replicas=config.parameter_replicas,
                    limits=config.weights_argument,
                    nodes=_nodes(standing),
                )
            )
        placed = await self._database.read(deployments.every)
        limits = config.calls_argument
        return wanted + [
            replicas(item, _model(item), limits, *_place(places.get(item.key)))
            for item in placed
            if item.pool
        ]

    async def _consider(self, desired: Desired, ensure: EnsureJob | None) -> None:
        pool = self._runtime.pools.get(desired.pool)
        if pool is None or not pool.live or not pool.nodes:
            return
        missing = self._missing(desired)
        now = time.time()
        if due(desired, ensure, cluster=pool.cluster, missing=missing, now=now):
            await self._begin(desired, pool, 0 if ensure is None else ensure.failures)

    def _missing(self, desired: Desired) -> float:
        """Seconds that something of it has been missing."""
        registry = self._runtime.registry
        roles = {role for role, _ in desired.endpoints}
        live = [(e.role, e.name) for role in roles for e in registry.resolve(role)]
        if not missing_endpoints(desired, live):
            self._missing_since.pop(desired.key, None)
            return 0.0
        since = self._missing_since.setdefault(desired.key, time.monotonic())
        return time.monotonic() - since

    async def _begin(self, desired: Desired, pool: PoolState, failures: int) -> None:
        ensure = EnsureJob(
            key=desired.key,
            submission_id=self._runtime.ids.ensure(desired.title),
            pool=desired.pool,
            cluster=pool.cluster,
            generation=desired.generation,
            status=ensures.RUNNING,
            started=time.time(),
            failures=failures,
        )
        await self._database.write(ensures.begin, ensure, tenant=desired.tenant, owner=OWNER)
        issued = [await self._database.write(tickets.issue, who) for who in desired.principals]
        submission = Submission(
            id=ensure.submission_id,
            command=(
                *(self._runtime.config.python, *desired.command),
                *("--controller", self._address),
            ),
            tickets=issued,
            roots=self._runtime.trust.roots,
            metadata=metadata(name=desired.title, owner=OWNER, tenant=desired.tenant),
        )
        log.info("ensure begins", key=desired.key, submission_id=ensure.submission_id)
        try:
            await self._runtime.launcher.submit(pool.pool, submission)
        except errors.TesseraError as error:
            await self._end(ensure, ok=False, message=error.message)

    async def _follow(self, ensure: EnsureJob) -> None:
        pool = self._runtime.pools.get(ensure.pool)
        if pool is None:
            return
        try:
            run = await self._runtime.launcher.status(pool.pool, ensure.submission_id)
            if not run.status.over:
                return
            ok = run.status is RunStatus.SUCCEEDED
            message, weight = "", FAILURES if run.hopeless else 1
            if run.status is RunStatus.MISSING:
                message = "the Ray cluster was replaced before it was done"
            elif not ok:
                text = await self._runtime.launcher.log(pool.pool, ensure.submission_id)
                message = last_traceback(text) or run.message
        except errors.UnavailableError:
            return
        await self._end(ensure, ok=ok, message=message, weight=weight)

    async def _end(self, ensure: EnsureJob, *, ok: bool, message: str, weight: int = 1) -> None:
        last = last_line(message)
        await self._database.write(
            ensures.end, ensure.submission_id, ok=ok, message=last, weight=weight
        )
        # Whoever was missing before gets the whole patience again.
        self._missing_since.pop(ensure.key, None)
        level = log.info if ok else log.warning
        level("ensure ended", key=ensure.key, ok=ok, message=message)

    async def _forget_ended(self, wanted: list[Desired], known: dict[str, EnsureJob]) -> None:
        for desired in wanted:
            ensure = known.get(desired.key)
            gone = not desired.endpoints and desired.key.startswith("deployment/")
            if gone and ensure is not None and ensure.status == ensures.SUCCEEDED:
                if ensure.generation != desired.generation:
                    continue
                name = desired.key.rpartition("/")[2]
                await self._database.write(deployments.remove, desired.tenant, name)
                await self._database.write(ensures.forget, desired.key)
                self._runtime.signals.wake(ADMISSION)
                log.info("deployment gone", key=desired.key)


def _place(placement: Placement | None) -> tuple[tuple[str, ...], str]:
    """Nodes and flavour; of what an earlier build has placed, neither is known."""
    return ((), "") if placement is None else (_nodes(placement), placement.flavour)


def _nodes(placement: Placement) -> tuple[str, ...]:
    """The nodes of its workers; of one that is still to be made, its group, as `group=NAME`."""
    return tuple(
        f"group={worker.group.partition('/')[2]}" if worker.group else worker.node
        for worker in placement.workers
    )


def _model(deployment: Deployment) -> str:
    """The set that a deployment serves, `tenant/set`."""
    spec = convert.from_json(deployment_pb2.DeploymentSpec, deployment.spec)
    return parse_reference(spec.model).full_name(deployment.tenant)
