"""A thread that delivers, again and again until it is done, and never holds anybody up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from tessera import errors
from tessera.rpc.retry import Pauses

log = structlog.get_logger()

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0


class BackgroundSender:
    """Calls `deliver` every `period` seconds; after a failure it tries again, more slowly.

    Args:
        name: of the thread.
        deliver: returns whether more waits; may raise Tessera's errors.
        period: seconds.
        on_refused: told when the other side will never take what is offered.
    """

    def __init__(
        self,
        name: str,
        deliver: Callable[[], bool],
        *,
        period: float = 0.25,
        on_refused: Callable[[errors.TesseraError], None] | None = None,
    ) -> None:
        self._deliver = deliver
        self._period = period
        self._on_refused = on_refused
        self._ended = threading.Event()
        self._urgent = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def flush(self) -> None:
        """Deliver at once."""
        self._urgent.set()

    def close(self, done: Callable[[], bool], patience: float) -> bool:
        """Deliver until `done` or for `patience` seconds, then end; returns whether it was done."""
        end = time.monotonic() + patience
        while not done() and self._thread.is_alive() and time.monotonic() < end:
            self._urgent.set()
            time.sleep(0.01)
        self._ended.set()
        self._urgent.set()
        self._thread.join(timeout=5.0)
        return done()

    def _run(self) -> None:
        pauses, pause, more = Pauses(first=FIRST_PAUSE, longest=LONGEST_PAUSE), 0.0, False
        while not self._ended.is_set():
            if pause:
                self._ended.wait(pause)
            elif not more:
                self._urgent.wait(self._period)
            self._urgent.clear()
            try:
                more, pause = self._deliver(), 0.0
                pauses.forgive()
            except (
                errors.FailedPreconditionError,
                errors.InvalidArgumentError,
                errors.NotFoundError,
                errors.PermissionDeniedError,
                errors.UnauthenticatedError,
            ) as error:
                if self._on_refused is not None:
                    self._on_refused(error)
                return
            except errors.TesseraError:
                more, pause = False, pauses.failed()
            except Exception as error:  # noqa: BLE001 - a thread that dies says nothing
                log.warning("delivery failed", error=str(error))
                more, pause = False, LONGEST_PAUSE
