"""A platform in the test's process: a real controller, and what a suite asks for beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from pathlib import Path
from typing import Any, Self

import grpc
from migrated import migrated

from tessera.api.controller.v1 import deployment_pb2, deployment_pb2_grpc
from tessera.controller.app import Controller
from tessera.controller.config import Config
from tessera.controller.policy import quotas
from tessera.controller.policy.records import Deployment
from tessera.controller.services import convert
from tessera.controller.services.deployments import demand_of
from tessera.controller.services.deployments import resolve as resolve_deployment
from tessera.controller.store import attempts, deployments, placement, tickets
from tessera.meter import NoMeter
from tessera.parameters.local import LocalParameters, start_parameters
from tessera.rpc.channel import bearer, channel
from tessera.rpc.platform_limits import TenantLimits
from tessera.rpc.principal import Principal, Role
from tessera.rpc.registration import JOB_CONFIG, TICKETS
from tessera.spec.reference import parse_reference


def handed(tickets: str) -> dict[str, str]:
    """Tickets as Ray hands them to a job's driver, in its environment."""
    return {JOB_CONFIG: json.dumps({"runtime_env": {}, "metadata": {TICKETS: tickets}})}


class InProcessPlatform:
    """A controller on a loop of its own, which can be stopped and started again at its address.

    Args:
        home: what a user's `TESSERA_HOME` is; all that is kept lies in it.
        settings: more of the controller's; it acts on pools where there are any.
    """

    def __init__(self, home: Path, **settings: Any) -> None:
        self.home = home
        self._settings = {"host": "127.0.0.1", "port": 0, "shards": 0, **settings}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.parameters: LocalParameters | None = None
        self.start_controller()
        self.token = self.issue(subject="ada", role=Role.OPERATOR)
        (home / "token").write_text(self.token)
        (home / "state.json").write_text(json.dumps({"controller": self.address}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_parameters()
        self.stop_controller()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def run(self, work, seconds: float = 60):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    # --- parts ---

    def start_controller(self) -> None:
        async def start():
            config = Config(home=self.home / "controller", **self._settings)
            self.controller = Controller(config, run_loops=bool(config.pools))
            migrated(config.home / "controller.db")
            self._settings["port"] = await self.controller.start()

        self.run(start())
        self.address = self.controller.address

    def stop_controller(self) -> None:
        self.run(self.controller.stop(0))

    def start_parameters(self, folder: Path | None = None, **limits: Any) -> LocalParameters:
        """A coordinator and two shards, whose folder is in the home unless it is given."""
        folder = folder or self.home / "parameters"
        self.parameters = start_parameters(self.address, self.node_tokens(), folder, **limits)
        return self.parameters

    def stop_parameters(self) -> None:
        if self.parameters is not None:
            self.parameters.stop()
        self.parameters = None

    async def replica(self, deployment: str, index: int = 0):
        """A replica on the loop that awaits it."""
        # With torch, which few suites need.
        from tessera.inference.config import ReplicaConfig  # noqa: PLC0415
        from tessera.inference.replica import start_replica  # noqa: PLC0415

        config = ReplicaConfig(
            controller=self.address,
            token=await asyncio.to_thread(self.replica_token, deployment),
            tenant="default",
            deployment=deployment,
            index=index,
        )
        return await start_replica(config, NoMeter())

    # --- tokens ---

    def issue(self, **principal: Any) -> str:
        return self.controller.runtime.issuer.issue(Principal(**principal))

    def node_tokens(self) -> tuple[str, ...]:
        """Of the coordinator and of each shard."""
        return (
            self.issue(subject="coordinator", role=Role.COORDINATOR),
            *(self.issue(subject=f"shard-{index}", role=Role.SHARD) for index in range(4)),
        )

    def replica_token(self, deployment: str, *, model: str = "") -> str:
        """Of a deployment's replicas.

        Args:
            deployment: its name.
            model: the set that they read, `tenant/set`; empty: what the deployment serves.
        """
        with contextlib.suppress(grpc.RpcError):  # Of a deployment that there is not: nothing.
            served = model or self.deployment(deployment).spec.model
            model = parse_reference(served).full_name("default")
        return self.issue(
            subject=f"replica:default/{deployment}",
            role=Role.REPLICA,
            deployment=deployment,
            reads=(model,),
        )

    def attempt_token(
        self, job: str = "j1", attempt: int = 1, *, writes: str = "", reads: tuple[str, ...] = ()
    ) -> str:
        return self.issue(
            subject=f"attempt:{job}/{attempt}",
            role=Role.ATTEMPT,
            tenant=writes.partition("/")[0] or "default",
            job=job,
            attempt=attempt,
            writes=writes,
            reads=reads,
        )

    def store(
        self, job: str, attempt: int = 1, *, spec: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """What an attempt is told of the parameter service.

        Args:
            job: its id, and the name of the set that it writes.
            attempt: its number.
            spec: of the job, which names the sets that it reads.
        """
        named = (spec or {}).get("model", {}).get("init", {}).values()
        reads = tuple(parse_reference(reference).full_name("default") for reference in named)
        token = self.attempt_token(job, attempt, writes=f"default/{job}", reads=reads)
        return {"controller": self.address, "token": token, "job": job, "attempt": attempt}

    def tickets(
        self, *roles: Role, deployment: str = "", tenant: str = "default"
    ) -> dict[str, str]:
        """What stands in the environment of a job that ensures a service's actors."""
        reads = ()
        if deployment:
            # There is none where a test asks what its replicas say then.
            with contextlib.suppress(grpc.RpcError):
                model = self.deployment(deployment, tenant=tenant).spec.model
                reads = (parse_reference(model).full_name(tenant),)
        shards = iter(range(len(roles)))
        who = [
            Principal(
                subject=f"shard-{next(shards)}" if role is Role.SHARD else role.value,
                role=role,
                tenant=tenant,
                deployment=deployment,
                reads=reads,
            )
            for role in roles
        ]
        return handed(" ".join(self._write(tickets.issue, principal) for principal in who))

    # --- what the controller does by itself where it has pools ---

    def admit(self, job: str) -> None:
        self._write(placement.admit, job, pool="local")

    def release(self, job: str) -> None:
        """Once the Ray job of its first attempt is gone."""
        self._write(attempts.release, job, 1)

    def _write(self, work, *arguments, **named):
        return self.run(self.controller.runtime.database.write(work, *arguments, **named))

    # --- deployments ---

    def deploy(
        self,
        name: str,
        model: str,
        *,
        accelerator: str = "",
        tenant: str = "default",
        max_lag: int | None = None,
        **engine: Any,
    ) -> None:
        """A deployment whose replicas the test starts, of a kind that no pool need have."""
        asked = deployment_pb2.DeploymentSpec(
            name=name,
            model=model,
            engine=deployment_pb2.EngineSpec(**engine),
            max_lag=max_lag,
        )
        if accelerator:
            asked.accelerator.type = accelerator
        spec = resolve_deployment(asked)
        row = Deployment(
            tenant=tenant,
            name=name,
            owner="ada",
            spec=convert.to_json(spec),
            demand=demand_of(spec),
            generation="",
        )
        self._write(deployments.create, row, quotas.deployments(TenantLimits()))

    def deployment(self, name: str, *, tenant: str = "default") -> deployment_pb2.Deployment:
        """As a user sees it."""
        token = self.issue(subject="ada", role=Role.VIEWER, tenant=tenant)
        request = deployment_pb2.GetDeploymentRequest(name=name)
        with channel(self.address) as connection:
            stub = deployment_pb2_grpc.DeploymentServiceStub(connection)
            reply = stub.GetDeployment(request, metadata=bearer(token), timeout=10)
        return reply.deployment
