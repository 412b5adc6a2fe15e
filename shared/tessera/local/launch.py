"""Starting a supervisor and following it until its platform can be used."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tessera import errors
from tessera.local import readiness, teardown
from tessera.local.home import Home
from tessera.local.options import Options
from tessera.local.readiness import Step
from tessera.local.state import FAILED, State

_POLL_SECONDS = 0.2
_LINES, _WIDTH = 12, 240
_END_SECONDS = 40.0

LOCKED = 75
"""Exit code of a supervisor that finds its home taken (EX_TEMPFAIL)."""


@dataclass(slots=True)
class Launch:
    """A platform on its way up."""

    home: Home
    process: subprocess.Popen[bytes]
    logged: dict[str, int]
    """Bytes that each log had before."""

    @classmethod
    def start(cls, home: Home, options: Options) -> Launch:
        """Spawn the supervisor, away from the caller's terminal and signals."""
        command = [sys.executable, "-m", "tessera.local"]
        command += ["--home", str(home.path), "--options", options.to_json()]
        logs = {name: home.log_path(name) for name in ("supervisor", "controller", "ray")}
        logged = {name: path.stat().st_size for name, path in logs.items() if path.exists()}
        logged["ray"] = 0  # A new cluster overwrites it.
        with logs["supervisor"].open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - a command of our own
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return cls(home, process, logged)

    def wait(
        self,
        seconds: float,
        stopped: Callable[[], bool],
        progress: Callable[[Sequence[Step]], None],
    ) -> State | None:
        """Follow it until it can be used; None if `stopped` became true first.

        Raises:
            UnavailableError: it failed or took too long; the message ends with the log's last
                lines.
        """
        deadline = time.monotonic() + seconds
        steps: Sequence[Step] = ()
        while not stopped():
            state = self._state()
            if state is not None and state.phase == FAILED:
                raise errors.UnavailableError(
                    f"{state.message}\n{self._blame(state.message)}", reason="START_FAILED"
                )
            if self.process.poll() is not None and not self.home.is_locked:
                raise errors.UnavailableError(
                    f"the supervisor ended with code {self.process.returncode}\n"
                    f"{self._tail('supervisor')}",
                    reason="SUPERVISOR_DIED",
                )
            if state is not None:
                steps = readiness.look(self.home, state)
                progress(steps)
                if all(step.done for step in steps):
                    return state
            if time.monotonic() > deadline:
                missing = next(
                    (step for step in steps if not step.done), Step(name="Ray", done=False)
                )
                raise errors.UnavailableError(
                    f"not up after {seconds:.0f} s: {missing.name} {missing.detail}\n"
                    f"{self._blame(missing.name)}",
                    reason="START_SLOW",
                )
            time.sleep(_POLL_SECONDS)
        return None

    def abandon(self) -> None:
        """End everything that was started; another supervisor's platform stays."""
        self.process.terminate()
        try:
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.returncode != LOCKED:
            teardown.stop(self.home)

    def _state(self) -> State | None:
        """The state that this supervisor, or the one that was faster, has written."""
        state = State.load(self.home.state_path)
        writer = state.processes.get("supervisor") if state else None
        if state is not None and state.phase == FAILED and self.process.poll() is not None:
            return state
        return state if writer and writer.alive else None

    def _blame(self, what: str) -> str:
        """The end of the log that explains a failure of `what`."""
        return self._tail("ray" if "ray.log" in what or what == "Ray" else "controller")

    def _tail(self, name: str) -> str:
        """Where a log is, and the last lines that were added to it."""
        path = self.home.log_path(name)
        try:
            added = path.read_bytes()[self.logged.get(name, 0) :]
        except OSError:
            return f"(no log at {path})"
        lines = added.decode(errors="replace").splitlines()[-_LINES:]
        shown = (line if len(line) <= _WIDTH else f"{line[:_WIDTH]} …" for line in lines)
        return "\n".join([f"the last lines of {path}:", *(f"  {line}" for line in shown)])
