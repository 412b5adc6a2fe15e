"""Whatever a run started ends with it: a test run, the demo, a benchmark.

    runner ──pipe──► guard              waits until the pipe ends, or the runner, in any way
       └──starts──► … ──starts──► …     all carry the run's mark in their environment

    python -m tessera.local.guard MARK PID

A platform that a person starts with `tessera up` has no guard, and outlives its shell.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

from tessera.environment import hermetic
from tessera.local.process import ProcessRef, end, kill

GUARDED = "TESSERA_GUARDED"
"""Environment variable with the marks of the runs that a process belongs to."""

_RELEASED, _CLOSED = b".", b"!"
_POLL_SECONDS = 0.5
_LOOK_SECONDS = 2.0
_GRACE_SECONDS = 5.0
_RUNNER_SECONDS = 60.0
_PATIENCE_SECONDS = 20.0


@dataclass(slots=True)
class Guard:
    """The runner's end: as long as this process lives, and this object is open, nothing ends."""

    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls) -> Self:
        """Mark what this process starts from now on."""
        mark = uuid.uuid4().hex
        env = hermetic(os.environ)
        before = os.environ.get(GUARDED, "")
        os.environ[GUARDED] = f"{before},{mark}".strip(",")
        command = [sys.executable, "-P", "-m", "tessera.local.guard", mark, str(os.getpid())]
        return cls(
            subprocess.Popen(  # noqa: S603 - a command of our own
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                env=env,
                cwd="/",
                start_new_session=True,
            )
        )

    def release(self) -> None:
        """What was started stays."""
        self._say(_RELEASED)

    def close(self) -> None:
        """End what was started and still runs."""
        self._say(_CLOSED)

    def _say(self, word: bytes) -> None:
        # Not by the pipe's end alone: a process that was forked off holds it open.
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(word)
            self.process.stdin.close()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(slots=True)
class Guardian:
    """The guard's end.

    Args:
        mark: of the run.
        runner: whose end is the run's.
    """

    mark: str
    runner: ProcessRef
    children: dict[int, ProcessRef] = field(default_factory=dict)
    """Below the runner: a process that was forked off has no mark."""
    leaders: dict[int, ProcessRef] = field(default_factory=dict)
    """Of sessions that are the run's own: Ray's workers write their titles over the mark."""
    folders: set[Path] = field(default_factory=set)

    def look(self) -> list[psutil.Process]:
        """What runs of the run now."""
        self._note_children()
        marked, others = [], []
        for process in psutil.process_iter():
            try:
                if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                environ = process.environ()
                if self.mark in environ.get(GUARDED, "").split(","):
                    marked.append(process)
                    self._note(process, environ)
                else:
                    others.append(process)
            except (psutil.Error, OSError):
                continue
        return marked + [process for process in others if self._belongs(process)]

    def sweep(self) -> None:
        """End all of it, and delete the folders of its Ray clusters."""
        end(self.look(), _GRACE_SECONDS)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (left := self.look()) and time.monotonic() < deadline:
            kill(left, patience=1.0)
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _note(self, process: psutil.Process, environ: dict[str, str]) -> None:
        if os.getsid(process.pid) == process.pid and process.pid not in self.leaders:
            self.leaders[process.pid] = ProcessRef.of(process.pid)
        folder = Path(environ.get("TMPDIR", "")).parent
        if folder.name.startswith("tessera-"):
            self.folders.add(folder)

    def _note_children(self) -> None:
        if runner := self.runner.find():
            with suppress(psutil.Error):
                for child in runner.children(recursive=True):
                    if child.pid != os.getpid() and child.pid not in self.children:
                        self.children[child.pid] = ProcessRef.of(child.pid)

    def _belongs(self, process: psutil.Process) -> bool:
        child = self.children.get(process.pid)
        if child is not None and child.alive:
            return True
        try:
            session = os.getsid(process.pid)
        except OSError:
            return False
        leader = self.leaders.get(session)
        # The kernel gives the number to nobody else while the session has members.
        return leader is not None and (leader.alive or not psutil.pid_exists(session))


def maker(pid: int) -> ProcessRef | None:
    """The `make` that a process was started by, however far above it."""
    with suppress(psutil.Error):
        for parent in psutil.Process(pid).parents():
            if parent.name() in {"make", "gmake"}:
                return ProcessRef.of(parent.pid)
    return None


def main() -> int:
    """Wait for the runner's end, then sweep; one whose `make` is gone is told to end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    pid = int(sys.argv[2])
    watch = Guardian(sys.argv[1], ProcessRef.of(pid))
    make, told, looked = maker(pid), 0.0, 0.0
    while True:
        if select.select([sys.stdin], [], [], _POLL_SECONDS)[0]:
            if os.read(sys.stdin.fileno(), 1) != _RELEASED:
                watch.sweep()
            return 0
        if not watch.runner.alive:
            watch.sweep()
            return 0
        now = time.monotonic()
        if now - looked > _LOOK_SECONDS:
            looked = now
            watch.look()
        if make is not None and not make.alive:
            late = told and now - told > _RUNNER_SECONDS
            with suppress(ProcessLookupError):
                if late or not told:
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
            told = told or now


if __name__ == "__main__":
    sys.exit(main())
