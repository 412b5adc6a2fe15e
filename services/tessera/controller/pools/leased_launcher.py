"""A launcher that starts and stops nothing unless its controller surely leads."""

from __future__ import annotations

from collections.abc import Callable

from tessera.controller.policy.outcome import RayJobRun
from tessera.controller.policy.records import Pool
from tessera.controller.pools.launcher import Launcher, Submission


class LeasedLauncher:
    """Asks before each act, for what has happened in the world no store takes back.

    Args:
        launcher: that acts.
        check: raises AbortedError unless the lease is surely held (CONTROLLER_FENCED).
    """

    def __init__(self, launcher: Launcher, check: Callable[[], None]) -> None:
        self._launcher = launcher
        self._check = check

    async def submit(self, pool: Pool, submission: Submission) -> None:
        """As `Launcher.submit`."""
        self._check()
        await self._launcher.submit(pool, submission)

    async def status(self, pool: Pool, submission: str) -> RayJobRun:
        """As `Launcher.status`."""
        return await self._launcher.status(pool, submission)

    async def stop(self, pool: Pool, submission: str) -> None:
        """As `Launcher.stop`."""
        self._check()
        await self._launcher.stop(pool, submission)

    async def log(self, pool: Pool, submission: str) -> str:
        """As `Launcher.log`."""
        return await self._launcher.log(pool, submission)
