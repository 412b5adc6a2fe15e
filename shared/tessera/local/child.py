"""A process that the supervisor keeps: started by it, or found when it took over."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tessera.local.process import ProcessRef, end


@dataclass(slots=True, kw_only=True)
class Child:
    """One process; `popen` is None where another supervisor started it."""

    ref: ProcessRef
    popen: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, command: Sequence[str], env: Mapping[str, str], log_path: Path) -> Child:
        """Start a process in a session of its own; its output is added to the log."""
        with log_path.open("ab") as log:
            popen = subprocess.Popen(  # noqa: S603 - a command of our own
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(env),
                start_new_session=True,
            )
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
