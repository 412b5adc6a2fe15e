"""A platform at a glance, as plain values: what `tessera status` shows."""

from __future__ import annotations

import contextlib
from collections import Counter
from functools import partial
from typing import Any

import grpc
import psutil

from tessera.api.controller.v1 import deployment_pb2 as deployment_pb
from tessera.api.controller.v1 import deployment_pb2_grpc as deployment_grpc
from tessera.api.controller.v1 import job_pb2 as job_pb
from tessera.api.controller.v1 import job_pb2_grpc as job_grpc
from tessera.api.controller.v1 import pool_pb2 as pool_pb
from tessera.api.controller.v1 import pool_pb2_grpc as pool_grpc
from tessera.api.controller.v1 import registry_pb2 as registry_pb
from tessera.api.parameters.v1 import shard_pb2 as shard_pb
from tessera.api.parameters.v1 import shard_pb2_grpc as shard_grpc
from tessera.client.dashboard import actor_of, actor_page
from tessera.local.home import Home
from tessera.local.process import members
from tessera.local.readiness import endpoints
from tessera.local.state import State
from tessera.rpc.channel import bearer, channel, mapped_errors
from tessera.rpc.pages import every_page
from tessera.rpc.tls.names import shard_server_name
from tessera.rpc.token import Token, tls_of

_SECONDS = 5.0
_PAGE = 500


def addresses(home: Home, state: State) -> dict[str, Any]:
    """Where a platform is, from its state file alone."""
    return {
        "home": str(home.path),
        "phase": state.phase,
        "controller": state.controller,
        "dashboard": state.dashboard,
        "ray_address": state.ray_address,
        "metrics": state.metrics,
        "started": state.started,
    }


def processes(state: State) -> list[dict[str, Any]]:
    """The processes that the supervisor keeps, itself among them; `rss` in bytes, 0 if dead."""
    rows = []
    for name, ref in state.processes.items():
        found = ref.find()
        rss = found.memory_info().rss if found else 0
        rows.append({"name": name, "pid": ref.pid, "alive": found is not None, "rss": rss})
    return rows


def totals(state: State) -> dict[str, int]:
    """How many processes a platform is, and the sum of their resident bytes.

    Pages that several processes map are counted once for each.
    """
    count = rss = 0
    for process in members(state.platform, state.leaders):
        try:
            rss += process.memory_info().rss
        except psutil.Error:
            continue
        count += 1
    return {"processes": count, "rss": rss}


def workloads(state: State, token: Token) -> dict[str, Any]:
    """Pools, standing services, jobs by state and deployments, asked of the controller.

    Raises:
        TesseraError: it does not answer, or not to this token.
    """
    with channel(state.controller, tls_of(token)) as connection, mapped_errors():
        return {
            "pools": _pools(connection, token),
            "shards": _shards(connection, token),
            "services": _services(connection, token, state.dashboard),
            "jobs": _jobs(connection, token),
            "deployments": _deployments(connection, token),
        }


def _pools(connection: grpc.Channel, token: Token) -> list[dict[str, Any]]:
    stub = pool_grpc.PoolServiceStub(connection)
    reply = stub.ListPools(pool_pb.ListPoolsRequest(), metadata=bearer(token), timeout=_SECONDS)
    return [
        {
            "name": pool.name,
            "live": pool.live,
            "total": dict(pool.total),
            "held": dict(pool.held),
            "message": pool.message,
        }
        for pool in reply.pools
    ]


def _services(connection: grpc.Channel, token: Token, dashboard: str) -> list[dict[str, Any]]:
    roles = registry_pb.Role
    wanted = (roles.ROLE_COORDINATOR, roles.ROLE_SHARD, roles.ROLE_TRAINER, roles.ROLE_REPLICA)
    return [
        {
            "role": roles.Name(role).removeprefix("ROLE_").lower(),
            "name": endpoint.name,
            "address": endpoint.control_address,
            "pid": int(endpoint.labels.get("pid", "0")),
            "state": endpoint.labels.get("state", "live"),
            "page": actor_page(dashboard, actor_of(endpoint)),
        }
        for role in wanted
        for endpoint in endpoints(connection, token, role)
    ]


def _shards(connection: grpc.Channel, token: Token) -> list[dict[str, Any]]:
    """What every shard that answers holds, in bytes."""
    rows = []
    for endpoint in endpoints(connection, token, registry_pb.ROLE_SHARD):
        tls, name = tls_of(token), shard_server_name(endpoint.name)
        with (
            channel(endpoint.control_address, tls, name) as shard,
            contextlib.suppress(grpc.RpcError),
        ):
            status = shard_grpc.ShardServiceStub(shard).GetShardStatus(
                shard_pb.GetShardStatusRequest(), metadata=bearer(token), timeout=_SECONDS
            )
            rows.append(
                {
                    "name": status.name,
                    "disk_bytes": status.disk_bytes,
                    "memory_bytes": status.memory_bytes,
                    "versions": status.versions,
                }
            )
    return rows


def _jobs(connection: grpc.Channel, token: Token) -> dict[str, int]:
    stub = job_grpc.JobServiceStub(connection)
    counts: Counter[str] = Counter()
    fetch = partial(stub.ListJobs, metadata=bearer(token), timeout=_SECONDS)
    for page in every_page(fetch, job_pb.ListJobsRequest(page_size=_PAGE)):
        for job in page.jobs:
            counts[job_pb.JobState.Name(job.state).removeprefix("JOB_STATE_").lower()] += 1
    return dict(counts)


def _deployments(connection: grpc.Channel, token: Token) -> list[dict[str, Any]]:
    stub = deployment_grpc.DeploymentServiceStub(connection)
    request = deployment_pb.ListDeploymentsRequest(page_size=_PAGE)
    reply = stub.ListDeployments(request, metadata=bearer(token), timeout=_SECONDS)
    states = deployment_pb.DeploymentState
    return [
        {
            "name": found.spec.name,
            "model": found.spec.model,
            "state": states.Name(found.state).removeprefix("DEPLOYMENT_STATE_").lower(),
            "version": found.version,
            "ready_replicas": found.ready_replicas,
            "replicas": found.spec.replicas,
            "message": found.message,
        }
        for found in reply.deployments
    ]
