"""The console script: an interrupt is quiet from the first moment, not when all is imported."""

from __future__ import annotations

import importlib
import os
import signal

from tessera.cli.exit_codes import INTERRUPTED


def main() -> None:
    """Import the command line, then run it."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # Else whoever started us wants it otherwise.
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    app = importlib.import_module("tessera.cli.app")
    signal.signal(signal.SIGINT, before)
    app.main()
