"""A controller, a coordinator, a shard and a replica's server in a process of their own: to attack.

`python served_process.py HOME` prints their addresses and a token of each of two tenants, a line of
JSON, and runs until it is killed. What is logged goes to standard error.
"""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from pathlib import Path

import structlog
from in_process import InProcessPlatform

from tessera.api.inference.v1 import inference_pb2, inference_pb2_grpc
from tessera.rpc.door import Door
from tessera.rpc.identity import Verifier
from tessera.rpc.policy.rule import Owner
from tessera.rpc.principal import Role
from tessera.rpc.server import Server


async def replica(key: str) -> str:
    """A replica's server with nothing behind its door, which nobody here gets past; no torch."""
    door = Door(Verifier([key]), owner=Owner(tenant="a", deployment="chat"))
    nothing = inference_pb2_grpc.InferenceServiceServicer()
    name = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name
    register = inference_pb2_grpc.add_InferenceServiceServicer_to_server
    server = Server(door, [(name, partial(register, nothing))])
    port = await server.start()
    KEPT.append(server)
    return f"127.0.0.1:{port}"


KEPT: list[object] = []


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    platform = InProcessPlatform(Path(sys.argv[1]))
    coordinator, shard = reversed(platform.start_parameters(platform.home, shards=1).nodes)
    key = platform.controller.runtime.issuer.public_key()
    addresses = {
        "controller": platform.address,
        "coordinator": coordinator.address,
        "shard": shard.address,
        "data": shard.data_address,
        "replica": platform.run(replica(key)),
    }
    tokens = {
        tenant: platform.issue(subject=f"ada of {tenant}", role=Role.SUBMITTER, tenant=tenant)
        for tenant in ("a", "b")
    }
    sys.stdout.write(json.dumps({"addresses": addresses, "tokens": tokens}) + "\n")
    sys.stdout.flush()
    asyncio.run(asyncio.Event().wait())


main()
