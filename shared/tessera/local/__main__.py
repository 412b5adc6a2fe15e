"""The supervisor's process: `python -m tessera.local --home DIR --options JSON`."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

import structlog

from tessera import errors
from tessera.local.home import Home
from tessera.local.launch import LOCKED
from tessera.local.options import Options
from tessera.local.supervisor import Supervisor
from tessera.log import configure_logging


def main() -> int:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(prog="tessera.local")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--options", type=Options.from_json, required=True)
    arguments = parser.parse_args()
    configure_logging("supervisor")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    home = Home(arguments.home)
    try:
        with home.locked():
            return Supervisor(home, arguments.options, stop).run()
    except errors.FailedPreconditionError as error:
        structlog.get_logger().error(error.message, reason=error.reason)
        return LOCKED


if __name__ == "__main__":
    sys.exit(main())
