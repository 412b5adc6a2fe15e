"""A process of the platform: started here, or found by a supervisor that took over.

Every process that is started on this machine is started here, with an environment, a mode of its
files and a session of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tessera.environment import hermetic
from tessera.local.process import ProcessRef, end

PRIVATE = 0o600
"""Mode of a file that only its owner reads."""


@dataclass(slots=True, kw_only=True)
class Child:
    """One process; `popen` is None where another supervisor started it."""

    ref: ProcessRef
    popen: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(
        cls, command: Sequence[str], env: Mapping[str, str], log_path: Path, folder: Path
    ) -> Child:
        """Start a process in a session of its own.

        Args:
            command: arguments of this Python, from `-m` on.
            env: its environment; what would reach into the platform is taken out.
            log_path: file that its output is added to.
            folder: that it works in.
        """
        log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE)
        try:
            popen = subprocess.Popen(  # noqa: S603 - a command of our own
                [sys.executable, "-P", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=hermetic(env),
                cwd=folder,
                umask=0o077,
                start_new_session=True,
            )
        finally:
            os.close(log)
        return cls(ref=ProcessRef.of(popen.pid), popen=popen)

    @property
    def alive(self) -> bool:
        """Whether it runs; a corpse is buried."""
        if self.popen is not None:
            return self.popen.poll() is None
        return self.ref.alive

    @property
    def code(self) -> int | None:
        """Exit code, where it is known."""
        return None if self.popen is None else self.popen.poll()

    def stop(self, grace: float) -> None:
        """SIGTERM, then SIGKILL after `grace` seconds."""
        if self.popen is None:
            if found := self.ref.find():
                end([found], grace)
            return
        self.popen.terminate()
        try:
            self.popen.wait(grace)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
