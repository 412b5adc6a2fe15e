"""Starting a supervisor and following it until its platform can be used."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tessera import errors
from tessera.local import readiness, teardown
from tessera.local.child import Child
from tessera.local.home import Home
from tessera.local.options import Options
from tessera.local.patience import Patience, Signs, signs_of
from tessera.local.process import members
from tessera.local.readiness import Step
from tessera.local.state import FAILED, State
from tessera.local.tail import tail

_POLL_SECONDS = 0.2
_SIGNS_SECONDS = 2.0
_MOST = 5
"""Times the patience without progress that it may take in all."""

_LOGS = ("supervisor", "controller", "ray")
_END_SECONDS = 40.0

LOCKED = 75
"""Exit code of a supervisor that finds its home taken (EX_TEMPFAIL)."""


@dataclass(slots=True)
class Launch:
    """A platform on its way up."""

    home: Home
    child: Child
    logged: dict[str, int]
    """Bytes that each log had before."""

    @classmethod
    def start(cls, home: Home, options: Options) -> Launch:
        """Spawn the supervisor, away from the caller's terminal and signals."""
        command = ["-m", "tessera.local"]
        command += ["--home", str(home.path), "--options", options.to_json()]
        logs = {name: home.log_path(name) for name in _LOGS}
        logged = {name: path.stat().st_size for name, path in logs.items() if path.exists()}
        logged["ray"] = 0  # A new cluster overwrites it.
        env = {**os.environ, **_folders(home.path)}
        return cls(home, Child.start(command, env, logs["supervisor"], home.path), logged)

    def wait(
        self,
        seconds: float,
        stopped: Callable[[], bool],
        progress: Callable[[Sequence[Step]], None],
    ) -> State | None:
        """Follow it until it can be used; None if `stopped` became true first.

        Args:
            seconds: without any progress, after which it is given up.
            stopped: whether nobody waits any more.
            progress: told of what is up, and what is not.

        Raises:
            UnavailableError: it failed, or nothing moved for too long; the log's end is quoted.
        """
        patience = Patience(quiet=seconds, most=_MOST * seconds, begun=time.monotonic())
        looked = 0.0
        steps: Sequence[Step] = ()
        while not stopped():
            state = self._state()
            if state is not None and state.phase == FAILED:
                raise errors.UnavailableError(
                    state.message, reason="START_FAILED", quote=self._blame(state.message)
                )
            if not self.child.alive and not self.home.is_locked:
                raise errors.UnavailableError(
                    f"the supervisor ended with code {self.child.code}",
                    reason="SUPERVISOR_DIED",
                    quote=self._tail("supervisor"),
                )
            if state is not None:
                steps = readiness.look(self.home, state)
                progress(steps)
                if all(step.done for step in steps):
                    return state
            if time.monotonic() - looked >= _SIGNS_SECONDS:
                looked = time.monotonic()
                if not patience.lasts(looked, self._signs(state)):
                    raise self._slow(steps, patience)
            time.sleep(_POLL_SECONDS)
        return None

    def abandon(self) -> None:
        """End everything that was started; another supervisor's platform stays."""
        self.child.stop(_END_SECONDS)
        if self.child.code != LOCKED:
            teardown.stop(self.home)

    def _signs(self, state: State | None) -> Signs:
        """What can be seen of the platform, or of its supervisor alone."""
        if state is None:
            processes = [found] if (found := self.child.ref.find()) else []
        else:
            processes = members(state.platform, state.leaders)
        return signs_of(processes, [self.home.log_path(name) for name in _LOGS])

    def _slow(self, steps: Sequence[Step], patience: Patience) -> errors.UnavailableError:
        missing = next((step for step in steps if not step.done), Step(name="Ray", done=False))
        now = time.monotonic()
        return errors.UnavailableError(
            f"not up after {now - patience.begun:.0f} s, the last {now - patience.moved:.0f} s "
            f"without progress: {missing.name} is not there {missing.detail}".rstrip(),
            reason="START_SLOW",
            quote=self._blame(missing.name),
        )

    def _state(self) -> State | None:
        """The state that this supervisor, or the one that was faster, has written."""
        state = State.load(self.home.state_path)
        writer = state.processes.get("supervisor") if state else None
        if state is not None and state.phase == FAILED and not self.child.alive:
            return state
        return state if writer and writer.alive else None

    def _blame(self, what: str) -> str:
        """The end of the log that explains a failure of `what`."""
        return self._tail("ray" if "ray.log" in what or what == "Ray" else "controller")

    def _tail(self, name: str) -> str:
        """Where a log is, and the last lines that were added to it."""
        return tail(self.home.log_path(name), self.logged.get(name, 0))


def _folders(home: Path) -> dict[str, str]:
    """Where processes keep what they keep in a user's home, for a user who has none to write to."""
    known = os.environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - does not raise
    if not known.startswith("/"):
        return {"HOME": str(home)}
    if not os.access(known, os.W_OK) and "XDG_CACHE_HOME" not in os.environ:
        return {"HOME": known, "XDG_CACHE_HOME": str(home / "cache")}
    return {"HOME": known}
