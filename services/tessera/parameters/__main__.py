"""A short Ray job that makes sure that the coordinator and the shards exist.

Its exit code is EX_TEMPFAIL of sysexits.h where trying again may help, and 1 where it does not.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from pathlib import Path

import ray

from tessera import errors
from tessera.detached_actor import NAMESPACE
from tessera.environment import keep_private, leave_working_directory
from tessera.parameters.actor import ensure
from tessera.parameters.config import CoordinatorConfig, ServiceAddress, ShardConfig, shard_name
from tessera.parameters.quota import TenantQuota
from tessera.rpc.platform_limits import PlatformLimits
from tessera.rpc.registration import exchange_handed
from tessera.spec.configuration import NOTHING, parse_configuration


def arguments() -> argparse.Namespace:
    """What the controller passes."""
    parser = argparse.ArgumentParser(prog="python -m tessera.parameters", description=__doc__)
    parser.add_argument("--controller", required=True, help="host:port of the controller")
    parser.add_argument("--shards", type=int, default=2, help="how many shards")
    parser.add_argument("--data-dir", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--disk-cap-bytes", type=int, help="for all versions together")
    parser.add_argument(
        "--replicas", type=int, default=0, help="shards that have each piece; 0: by the nodes"
    )
    parser.add_argument(
        "--nodes", default="", help="of the coordinator, then of the shards, with commas"
    )
    parser.add_argument("--limits", default=NOTHING, help="how much anybody may have, as JSON")
    return parser.parse_args()


def main() -> int:
    """Make what is missing; returns the exit code."""
    keep_private()
    try:
        _ensure(arguments())
    except Exception as error:  # noqa: BLE001 - the job's log has it whole
        traceback.print_exc()
        passes = isinstance(error, ray.exceptions.RayError) or errors.is_transient(error)
        return os.EX_TEMPFAIL if passes else 1
    return 0


def _ensure(options: argparse.Namespace) -> None:
    """Exchange the tickets, then make what is missing."""
    tokens = exchange_handed(options.controller, os.environ)
    of_coordinator, *of_shards = (
        ServiceAddress(controller=options.controller, token=token) for token in tokens
    )
    limits = parse_configuration(options.limits, "--limits", PlatformLimits)
    coordinator = CoordinatorConfig(
        data_dir=options.data_dir / "coordinator",
        shards=options.shards,
        disk_cap_bytes=options.disk_cap_bytes or None,
        replicas=options.replicas,
        quota=TenantQuota.of_platform(limits),
        calls=limits.servers,
    )
    shards = [
        ShardConfig(
            index=index, data_dir=options.data_dir / shard_name(index), calls=limits.servers
        )
        for index in range(options.shards)
    ]
    leave_working_directory()
    ray.init(namespace=NAMESPACE, log_to_driver=False)
    nodes = options.nodes.split(",") if options.nodes else [""] * (options.shards + 1)
    for address in ensure(of_coordinator, of_shards, coordinator, shards, nodes):
        print(address, flush=True)  # noqa: T201 - the job's log


if __name__ == "__main__":
    sys.exit(main())
