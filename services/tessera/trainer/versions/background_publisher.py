"""Versions that are pushed, sealed and committed while training goes on; one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

from tessera.trainer.position import Position
from tessera.trainer.versions.publish import Published, Publisher

LAST_SECONDS = 15.0
"""For a version that was begun before the run failed; longer, and others wait for the reason."""


class BackgroundPublisher:
    """Has a publisher's commits done on a thread.

    All ranks begin the same versions in the same order; each of them waits for its own thread only.

    Args:
        publisher: commits versions.
    """

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._pending: Future[Published] | None = None

    def begin(self, position: Position, labels: Mapping[str, str]) -> None:
        """Copy what is to be committed, and begin.

        The version before must have been taken by `finish` or `poll`: its copy lies in the same
        memory.
        """
        assert self._pending is None
        snapshot = self.publisher.snapshot(position, labels)
        self._pending = self._thread.submit(self.publisher.commit, snapshot)

    def poll(self) -> Published | None:
        """The version that was begun, if it is committed by now; each once.

        Raises:
            FencedError: a newer attempt writes this set.
            TesseraError: it did not succeed in several tries.
        """
        if self._pending is None or not self._pending.done():
            return None
        return self.finish()

    def finish(self) -> Published | None:
        """Wait for the version that was begun; None if it was taken, or none was. Raises alike."""
        pending, self._pending = self._pending, None
        return pending.result() if pending is not None else None

    def close(self) -> None:
        """Begin nothing more; what was begun gets a moment: the next attempt resumes from it."""
        if self._pending is not None:
            wait([self._pending], LAST_SECONDS)
        self._thread.shutdown(wait=False, cancel_futures=True)
