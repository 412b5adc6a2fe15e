"""One shape for every loop: look, act, sleep until woken or until it is time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from tessera import errors
from tessera.controller.signals import Signals

log = structlog.get_logger()

PAUSE_AFTER_ERROR = 2.0


async def run_loop(
    name: str, signals: Signals, keys: tuple[str, ...], body: Callable[[], Awaitable[float]]
) -> None:
    """Call `body` for ever; it returns the seconds until it wants to be called without a wake-up.

    A failed round is logged and tried again: a loop never ends by an error.

    Raises:
        AbortedError: another controller leads now (CONTROLLER_FENCED).
    """
    with signals.listen(*keys) as wakeup:
        while True:
            try:
                pause = await body()
            except errors.AbortedError as error:
                if error.reason == "CONTROLLER_FENCED":
                    raise
                log.warning("loop failed", loop=name, message=error.message)
                pause = PAUSE_AFTER_ERROR
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("loop failed", loop=name)
                pause = PAUSE_AFTER_ERROR
            await wakeup.wait(pause)
