"""Processes by identity: a number alone may have been given to another process since.

Everything that a platform starts carries a mark in its environment and lives in the session of a
process that is recorded, so that it is found again when whoever started it is gone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psutil

MARK = "TESSERA_PLATFORM"
"""Environment variable that carries the platform's id in every process of it."""

_SLACK_SECONDS = 0.02
_POLL_SECONDS = 0.05
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@cache
def boot_id() -> str:
    """The present run of this machine's kernel; empty where the system does not tell."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def started(pid: int) -> float:
    """When a process was started: seconds since the machine was, whatever its clock says now.

    Raises:
        psutil.NoSuchProcess: there is no such process.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except FileNotFoundError:
        # No /proc: by the clock, as far as it goes.
        return psutil.Process(pid).create_time()
    except ProcessLookupError:
        raise psutil.NoSuchProcess(pid) from None
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRef:
    """A process: its number, when it was started, and in which run of the machine's kernel."""

    pid: int
    started: float
    boot: str = field(default_factory=boot_id)

    @classmethod
    def of(cls, pid: int) -> ProcessRef:
        """The process that has this number now.

        Raises:
            psutil.NoSuchProcess: there is none.
        """
        return cls(pid=pid, started=started(pid))

    def find(self) -> psutil.Process | None:
        """The process, unless it is gone, or a corpse, or its number is another's now."""
        if self.boot != boot_id():
            return None
        try:
            process = psutil.Process(self.pid)
            same = abs(started(self.pid) - self.started) <= _SLACK_SECONDS
            if same and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except psutil.Error:
            pass
        return None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.find() is not None


def members(mark: str, leaders: Sequence[ProcessRef] = ()) -> list[psutil.Process]:
    """Every running process of a platform but the caller and its ancestors.

    Args:
        mark: the platform's id.
        leaders: leaders of sessions that belong to it. Ray's workers write their titles over
            their environment, so the mark alone does not find them.
    """
    sessions = {leader.pid: leader.started for leader in leaders if leader.boot == boot_id()}
    own = {process.pid for process in [psutil.Process(), *psutil.Process().parents()]}
    found = []
    for process in psutil.process_iter():
        if process.pid in own:
            continue
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if _in_session(process, sessions) or _marked(process, mark):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def end(processes: Iterable[psutil.Process], grace: float) -> int:
    """SIGTERM, up to `grace` seconds, then SIGKILL; returns how many had to be killed."""
    living = list(processes)
    for process in living:
        _signal(process.terminate)
    stubborn = _outlasting(living, grace)
    kill(stubborn)
    return len(stubborn)


def kill(processes: Iterable[psutil.Process], patience: float = 5.0) -> None:
    """SIGKILL, and wait until they are gone."""
    living = list(processes)
    for process in living:
        _signal(process.kill)
    _outlasting(living, patience)


def kill_members(mark: str, leaders: Sequence[ProcessRef], patience: float = 10.0) -> bool:
    """SIGKILL every process of a platform, also those that are born meanwhile.

    Returns:
        Whether none is left.
    """
    deadline = time.monotonic() + patience
    while found := members(mark, leaders):
        if time.monotonic() > deadline:
            return False
        kill(found, patience=1.0)
    return True


def _outlasting(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that still run then; a corpse that its parent has not buried does not."""
    end_at = time.monotonic() + seconds
    while (left := [process for process in processes if _runs(process)]) and (
        time.monotonic() < end_at
    ):
        time.sleep(_POLL_SECONDS)
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _in_session(process: psutil.Process, sessions: dict[int, float]) -> bool:
    """Whether the process is of a recorded session, and not of a later one of the same number."""
    session = os.getsid(process.pid)
    begun = sessions.get(session)
    if begun is None or started(process.pid) < begun - _SLACK_SECONDS:
        return False
    try:
        return abs(started(session) - begun) <= _SLACK_SECONDS
    except psutil.NoSuchProcess:
        return True  # The kernel gives the number to nobody while the session has members.


def _marked(process: psutil.Process, mark: str) -> bool:
    return bool(mark) and process.environ().get(MARK) == mark


def _signal(send: Callable[[], None]) -> None:
    try:
        send()
    except psutil.NoSuchProcess:
        return
