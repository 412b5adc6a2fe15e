"""`python -m tessera.inference`: the Ray job that makes a deployment's replicas exist, and ends.

Its exit code is EX_TEMPFAIL of sysexits.h where trying again may help, and 1 where it does not.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys

import ray
import structlog

from tessera import errors
from tessera.detached_actor import NAMESPACE
from tessera.environment import keep_private, leave_working_directory
from tessera.inference.ensure import WantedReplicas, ensure
from tessera.log import configure_logging
from tessera.rpc.platform_limits import PlatformLimits
from tessera.rpc.registration import exchange_handed
from tessera.spec.configuration import NOTHING, parse_configuration

log = structlog.get_logger()


def _arguments() -> argparse.Namespace:
    """What the controller passes."""
    parser = argparse.ArgumentParser(prog="tessera.inference", description=__doc__)
    parser.add_argument("--controller", required=True, help="host:port of the controller")
    parser.add_argument("--tenant", required=True, help="whose the deployment is")
    parser.add_argument("--deployment", required=True, help="name of the deployment")
    parser.add_argument("--generation", required=True, help="of what is wanted of it")
    parser.add_argument("--replicas", type=int, required=True, help="how many; 0 ends all")
    parser.add_argument("--cpus", type=float, default=1.0, help="logical CPUs of each")
    parser.add_argument("--accelerator-type", default="", help="for example H100; GPU: any")
    parser.add_argument("--accelerator-count", type=float, default=1.0, help="of each replica")
    parser.add_argument("--memory-bytes", type=int, default=0, help="of each; 0: none is reserved")
    parser.add_argument("--nodes", default="", help="of the replicas, in order, with commas")
    parser.add_argument("--limits", default=NOTHING, help="how much anybody may have, as JSON")
    return parser.parse_args()


def main() -> int:
    """Read the arguments, join the cluster, ensure."""
    args = _arguments()
    keep_private()
    configure_logging("inference")
    try:
        [token] = exchange_handed(args.controller, os.environ)
        leave_working_directory()
        ray.init(
            address=os.environ["RAY_ADDRESS"],
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
        ensure(
            WantedReplicas(
                controller=args.controller,
                token=token,
                tenant=args.tenant,
                deployment=args.deployment,
                generation=args.generation,
                replicas=args.replicas,
                cpus=args.cpus,
                accelerator_type=args.accelerator_type,
                accelerator_count=args.accelerator_count,
                memory=args.memory_bytes,
                nodes=tuple(args.nodes.split(",")) if args.nodes else (),
                calls=parse_configuration(args.limits, "--limits", PlatformLimits).servers,
            )
        )
    except Exception as error:
        log.exception("the replicas are not as they should be")
        sys.stderr.write(f"{errors.describe(_cause(error))}\n")
        return os.EX_TEMPFAIL if _transient(error) else 1
    return 0


def _cause(error: Exception) -> BaseException:
    """What an actor raised, or the error itself."""
    cause: BaseException | None = None
    if isinstance(error, ray.exceptions.RayTaskError):
        cause = error.cause
    return cause or error


def _transient(error: Exception) -> bool:
    cause = _cause(error)
    # Actors and nodes of Ray's go and come back.
    return isinstance(cause, ray.exceptions.RayError) or errors.is_transient(cause)


if __name__ == "__main__":
    sys.exit(main())
