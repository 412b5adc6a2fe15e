"""`python -m tessera.inference`: the Ray job that makes a deployment's replicas exist, and ends."""

from __future__ import annotations

import argparse
import logging
import os
import sys

import ray
import structlog

from tessera import errors
from tessera.inference.ensure import NAMESPACE, Wanted, ensure
from tessera.log import configure_logging
from tessera.rpc.registration import exchange_ticket

log = structlog.get_logger()


def main() -> int:
    """Read the arguments, join the cluster, ensure."""
    parser = argparse.ArgumentParser(prog="tessera.inference", description=__doc__)
    parser.add_argument("--controller", required=True, help="host:port of the controller")
    parser.add_argument("--ticket", required=True, help="one-time ticket for a token")
    parser.add_argument("--deployment", required=True, help="name of the deployment")
    parser.add_argument("--replicas", type=int, required=True, help="how many; 0 ends all")
    parser.add_argument("--cpus", type=float, default=1.0, help="logical CPUs of each")
    parser.add_argument("--accelerator-type", default="", help="for example H100; GPU: any")
    parser.add_argument("--accelerator-count", type=float, default=1.0, help="of each replica")
    args = parser.parse_args()
    configure_logging("inference")
    try:
        token = exchange_ticket(args.controller, args.ticket)
        ray.init(
            address=os.environ["RAY_ADDRESS"],
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
        ensure(
            Wanted(
                controller=args.controller,
                token=token,
                deployment=args.deployment,
                replicas=args.replicas,
                cpus=args.cpus,
                accelerator_type=args.accelerator_type,
                accelerator_count=args.accelerator_count,
            )
        )
    except (errors.TesseraError, ray.exceptions.RayError) as error:
        log.exception("the replicas are not as they should be", reason=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
