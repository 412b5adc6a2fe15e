"""How long to wait for what is starting: as long as it moves. `signs_of` looks at processes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

BUSY = 0.25
"""Share of a core that what starts takes, and what only waits does not."""

WINDOW_SECONDS = 5.0
"""Over which that share is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What can be seen from outside: bytes in logs, running processes, and their seconds of CPU."""

    logged: int = 0
    processes: frozenset[int] = frozenset()
    cpu: float = 0.0


@dataclass(slots=True, kw_only=True)
class Patience:
    """Ends after `quiet` seconds in which nothing moved, or after `most` seconds in all.

    Args:
        quiet: seconds.
        most: seconds.
        begun: the time now, of a clock that does not jump.
    """

    quiet: float
    most: float
    begun: float
    moved: float = field(init=False)
    _before: Signs = field(init=False, default_factory=Signs)
    _window: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        self.moved = self.begun
        self._window = (self.begun, 0.0)

    def lasts(self, now: float, signs: Signs) -> bool:
        """Whether to wait on."""
        begun, cpu = self._window
        if now - begun >= WINDOW_SECONDS:
            if signs.cpu - cpu >= BUSY * (now - begun):
                self.moved = now
            self._window = (now, signs.cpu)
        if signs.logged != self._before.logged or signs.processes - self._before.processes:
            self.moved = now
        self._before = signs
        return now - self.moved < self.quiet and now - self.begun < self.most


def signs_of(processes: Iterable[psutil.Process], logs: Iterable[Path]) -> Signs:
    """What processes and logs show now."""
    cpu: dict[int, float] = {}
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        cpu[process.pid] = times.user + times.system
    sizes = (log.stat().st_size for log in logs if log.exists())
    return Signs(logged=sum(sizes), processes=frozenset(cpu), cpu=sum(cpu.values()))
