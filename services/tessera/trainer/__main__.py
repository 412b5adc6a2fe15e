"""Driver of a training attempt, started as a Ray job by the controller.

python -m tessera.trainer --job ID --attempt N --controller HOST:PORT
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from tessera.environment import keep_private, leave_working_directory
from tessera.rpc.registration import exchange_handed

TRAIN_ENVIRONMENT = {
    # Ray's own loop only starts and watches the workers; the ranks report to the controller.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "60",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "120",
    # An actor more for each run, which watches for nodes that leave; nobody here asks it yet.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}


def _arguments() -> argparse.Namespace:
    """What the controller passes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job", required=True)
    parser.add_argument("--attempt", type=int, required=True)
    parser.add_argument("--controller", required=True)
    parser.add_argument("--limits", default="{}", help="how much anybody may have, as JSON")
    return parser.parse_args()


def main() -> int:
    """Read the arguments, join the cluster, run the attempt; returns the exit code."""
    arguments = _arguments()
    keep_private()
    # First of all, and before Ray is imported: a ticket is worth something until it is used.
    [token] = exchange_handed(arguments.controller, os.environ)
    for name, value in TRAIN_ENVIRONMENT.items():
        os.environ.setdefault(name, value)

    import ray  # noqa: PLC0415 - reads the environment when it is imported

    from tessera.log import configure_logging  # noqa: PLC0415 - the same
    from tessera.rpc.platform_limits import PlatformLimits  # noqa: PLC0415 - the same
    from tessera.spec.configuration import parse_configuration  # noqa: PLC0415 - the same
    from tessera.trainer.control.logs import LogShipper  # noqa: PLC0415 - the same
    from tessera.trainer.driver import Driver  # noqa: PLC0415 - the same
    from tessera.trainer.settings import AttemptContext  # noqa: PLC0415 - the same

    context = AttemptContext(
        job=arguments.job,
        attempt=arguments.attempt,
        tenant="",
        controller=arguments.controller,
        driver="",
        token=token,
    )
    shipper = LogShipper(context, "driver")
    shipper.start()
    configure_logging("trainer")
    try:
        leave_working_directory()
        ray.init(log_to_driver=False)
        driver = Driver(
            job=arguments.job,
            attempt=arguments.attempt,
            controller=arguments.controller,
            token=token,
            host=str(ray.util.get_node_ip_address()),  # type: ignore[no-untyped-call]
            calls=parse_configuration(arguments.limits, "--limits", PlatformLimits).servers,
        )
        ended = asyncio.run(driver.run())
    finally:
        shipper.close()
    return 1 if ended.failure is not None else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of Ray and of torch may outlive the work; nothing of theirs is worth waiting for.
    os._exit(code)
