"""With what the command line ends; docs/errors.md lists it."""

from __future__ import annotations

import signal

DONE, FAILED, MISTAKE = 0, 1, 2


def ended_by(number: int) -> int:
    """The code of a process that a signal ended, as shells have it."""
    return 128 + number


INTERRUPTED = ended_by(signal.SIGINT)
"""By Ctrl-C."""
