"""What is measured from outside runs in a process of its own, which says when it is ready.

It is a benchmark's own file, started again with `--serve FOLDER`.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

READY = "READY "
"""Begins the line that says what there is to call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProcess:
    """One that is ready.

    Args:
        told: what it said of itself.
        pid: of the process.
        folder: for its files and the caller's; it ends with it.
    """

    told: dict[str, Any]
    pid: int
    folder: Path


@contextmanager
def served(file: str | Path, arguments: Sequence[str] = ()) -> Iterator[ServerProcess]:
    """Start a server, and end it.

    Args:
        file: of the benchmark that serves.
        arguments: more of its command line.
    """
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder:
        command = [sys.executable, str(file), "--serve", folder, *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                told = told_by(server)
                yield ServerProcess(told=told, pid=server.pid, folder=Path(folder))
            finally:
                server.kill()


def say_ready(told: dict[str, Any]) -> None:
    """What the server prints when it can be called."""
    print(READY + json.dumps(told), flush=True)


def keep_stdout() -> None:
    """Standard output is for the results: warnings alone are logged, beside it."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def told_by(server: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for what a server says when it is ready.

    Raises:
        SystemExit: it ended before.
    """
    assert server.stdout is not None
    for line in server.stdout:
        if line.startswith(READY):
            return json.loads(line.removeprefix(READY))  # type: ignore[no-any-return]
    raise SystemExit("the server did not start")
