"""Whether a platform can be used: asked of its own servers, not of its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tessera.api.controller.v1 import registry_pb2 as pb
from tessera.api.controller.v1 import registry_pb2_grpc as pb_grpc
from tessera.local.home import Home
from tessera.local.state import State
from tessera.rpc import credentials
from tessera.rpc.channel import bearer, channel
from tessera.rpc.tls.roots import read_roots
from tessera.rpc.token import Token, tls_of

_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that must be up; `detail` is where it is, or what is still missing."""

    name: str
    done: bool
    detail: str = ""


def look(home: Home, state: State) -> list[Step]:
    """What of a platform is up, in the order in which it comes up."""
    steps = [Step(name="Ray", done=bool(state.ray_address), detail=state.ray_address)]
    if not (state.controller and state.ray_address):
        return [*steps, Step(name="controller", done=False), Step(name="parameters", done=False)]
    with channel(state.controller, tls_of(shown(home, state))) as connection:
        serving = _serves(connection)
        steps.append(Step(name="controller", done=serving, detail=state.controller))
        if not serving:
            return [*steps, Step(name="parameters", done=False)]
        token = shown(home, state)
        names = [e.name for e in endpoints(connection, token, pb.ROLE_COORDINATOR)]
        names += [e.name for e in endpoints(connection, token, pb.ROLE_SHARD)]
    wanted = ["coordinator", *(f"shard-{index}" for index in range(state.shards))]
    missing = [name for name in wanted if name not in names]
    detail = f"waiting for {', '.join(missing)}" if missing else ", ".join(wanted)
    return [*steps, Step(name="parameters", done=not missing, detail=detail)]


def shown(home: Home, state: State) -> Token:
    """What the platform's own user shows to it.

    Raises:
        FailedPreconditionError: its ca.crt cannot be read (CA_UNUSABLE).
    """
    token = home.token_path.read_text().strip()
    return credentials.shown(state.controller, token, read_roots(state.ca) if state.ca else b"")


def endpoints(
    connection: grpc.Channel, token: Token, role: pb.Role.ValueType
) -> Sequence[pb.Endpoint]:
    """The live endpoints of a role; none where the controller does not answer."""
    stub = pb_grpc.RegistryServiceStub(connection)
    try:
        reply = stub.Resolve(pb.ResolveRequest(role=role), metadata=bearer(token), timeout=_SECONDS)
    except grpc.RpcError:
        return []
    return [endpoint for endpoint in reply.endpoints if endpoint.live]


def _serves(connection: grpc.Channel) -> bool:
    stub: Any = health_pb2_grpc.HealthStub(connection)
    try:
        reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=_SECONDS)
    except grpc.RpcError:
        return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
