"""A process under test: the platform, which is called from within, or waits for callers.

    python -m fuzz.worker HOME --seed N --messages N --seconds N     calls it from within
    python -m fuzz.worker HOME --seed N --replay FILE                calls it once, as FILE says
    python -m fuzz.worker HOME                                       prints addresses and waits

What it says of itself are JSON lines; what goes wrong in its log is said there too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import structlog

from .recorder import SERVERS, TALLY, record_servers

record_servers()

from .callers import Callers  # noqa: E402
from .calls import Direct, Outcome, parsed, smallest  # noqa: E402
from .cases import Case, Cases  # noqa: E402
from .garbage import settle  # noqa: E402
from .served import Served, serving  # noqa: E402
from .told import TELL_SECONDS, tell  # noqa: E402

AT_ONCE = 64
FAILURES = 3
"""Of one method that are told in full."""


class Log:
    """What is logged, kept where it says that something is broken."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.errors: Counter[str] = Counter()

    def __call__(self, _: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
        if "exception" in event or event.get("level") in {"error", "critical"}:
            self._keep(json.dumps(event, default=str))
        raise structlog.DropEvent

    def _keep(self, text: str) -> None:
        key = text[-200:]
        self.errors[key] += 1
        if self.errors[key] == 1 and len(self.errors) < 200:
            self.broken.append(text)


class _Handler(logging.Handler):
    """The same of what gRPC and asyncio log."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.ERROR)
        self._log = log
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._log._keep(self.format(record))


def listen() -> Log:
    log = Log()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            log,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    logging.getLogger().addHandler(_Handler(log))
    return log


def tell_tally(log: Log, done: int, **more: Any) -> None:
    ended = [[method, code, count] for (method, code), count in TALLY.ended.items()]
    defects, TALLY.defects = TALLY.defects, []
    broken, log.broken = log.broken, []
    tell(
        "tally", done=done, ended=ended, reached=dict(TALLY.reached), defects=defects,
        log=broken, **more,
    )  # fmt: skip


class Within:
    """Calls the platform of this process.

    Args:
        served: it.
        cases: what to call.
        log: of the process.
    """

    def __init__(self, served: Served, cases: Cases, log: Log) -> None:
        self._served = served
        self._cases = cases
        self._log = log
        self._direct = Direct(SERVERS)
        self._told: Counter[str] = Counter()
        self._sent: Counter[str] = Counter()
        self._begun = 0
        self.done = 0

    async def run(self, first: int, messages: int, seconds: float) -> None:
        end = time.monotonic() + seconds
        numbers = iter(range(first, 1 << 40))

        async def call() -> None:
            while self._begun < messages and time.monotonic() < end:
                case = self._cases.case(next(numbers))
                self._begun += max(1, len(case.messages))
                await self._one(case)

        telling = asyncio.create_task(self._tell())
        await asyncio.gather(*(call() for _ in range(AT_ONCE)))
        telling.cancel()
        await asyncio.sleep(0.5)
        self._tell_now()

    async def again(self, described: dict[str, Any], callers: Callers) -> None:
        """Send again, byte for byte, what a failure was printed with."""
        await self._one(Case.of(described, callers.shown))
        self._tell_now()

    async def _one(self, case: Case) -> None:
        outcome = await self._direct.call(case)
        self.done += max(1, len(case.messages))
        self._sent[case.method] += max(1, len(case.messages))
        if (answer := parsed(case, outcome)) is not None:
            self._served.world.observe(case.method, case.who, case.requests[0], answer)
        if outcome.defect:
            await self._failed(case, outcome)

    async def _failed(self, case: Case, outcome: Outcome) -> None:
        self._told[case.method] += 1
        if self._told[case.method] <= FAILURES:
            less = case if outcome.hung else await smallest(self._direct, case)
            tell("failure", code=outcome.code, details=outcome.details, case=less.describe())

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            self._tell_now()

    def _tell_now(self) -> None:
        failed = self._served.failed
        tell_tally(self._log, self.done, sent=dict(self._sent), ended_loop=failed)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--messages", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--replay", type=Path)
    options = parser.parse_args()
    log = listen()
    async with serving(options.home) as served:
        settle()
        tell("ready", pid=os.getpid(), addresses=served.world.addresses)
        if options.seed is None:
            ended = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
            while not ended.done():
                await asyncio.wait([ended], timeout=TELL_SECONDS)
                tell_tally(log, 0, sent={}, ended_loop=served.failed)
            return
        callers = Callers(lambda: served.issuer, served.world)
        cases = Cases(options.seed, served.world, callers)
        within = Within(served, cases, log)
        if options.replay is not None:
            await within.again(json.loads(options.replay.read_text()), callers)
        else:
            await within.run(options.first, options.messages, options.seconds)
    tell("end")


if __name__ == "__main__":
    asyncio.run(main())
