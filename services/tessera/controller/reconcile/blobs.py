"""Uploaded files that nobody uses any more are dropped."""

from __future__ import annotations

from functools import partial

import structlog

from tessera.controller.runtime import Runtime
from tessera.controller.store import holdings

log = structlog.get_logger()

PAUSE = 3600.0
"""Seconds between two looks, at most: what is kept is kept for days."""


class BlobLoop:
    """Collects blobs."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def round(self) -> float:
        """Collect once; returns the seconds until the next look."""
        unused = self._runtime.config.limits.uploads.unused_seconds
        drop = partial(self._runtime.blobs.keep, unused=unused)
        gone = await self._runtime.database.write(holdings.collect, unused, drop)
        if gone:
            log.info("uploads dropped", count=gone)
        return min(PAUSE, unused)
