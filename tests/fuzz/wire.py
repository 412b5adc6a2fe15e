"""Calls over sockets, from a process of their own: gRPC's client, and bytes that no client sends.

python -m fuzz.wire ADDRESSES HOME --seed N --messages N --seconds N
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import grpc

from tessera.controller.keys import Keys
from tessera.rpc.channel import OPTIONS

from .callers import Callers
from .calls import HANG_SECONDS, Outcome, parsed
from .cases import PATHS, Case, Cases
from .garbage import settle
from .sockets import break_connection
from .told import TELL_SECONDS, tell
from .world import MODELS, World

AT_ONCE = 96
SOCKETS = 0.01
"""Share of what is sent that is no gRPC, or not all of it."""
CLIENTS_OWN = ("Internal error from Core", 'Failed "execute_batch"', "Failed grpc_call_start_batch")
"""What grpc.aio says by itself where it was refused while it wrote; the server said another one."""
FAILURES = 3


def server_of(case: Case, addresses: dict[str, str]) -> str:
    """Where a case is sent."""
    service = case.method.split("/")[1]
    name = service.rpartition(".")[2]
    if service.startswith("grpc."):
        return list(addresses.values())[case.server % 5]
    if "controller" in service:
        return addresses["controller"]
    match name:
        case "CoordinatorService":
            return addresses["coordinator"]
        case "ShardService":
            return addresses["shard" if case.server % 2 else "shard-1"]
        case "ShardDataService":
            return addresses["data"]
        case "TrainerService" | "RankService":
            return addresses["driver"]
    return addresses[MODELS[case.server]]


class Wire:
    """Calls a platform that another process is.

    Args:
        addresses: of its servers.
        cases: what to call.
        world: what is known of it.
    """

    def __init__(self, addresses: dict[str, str], cases: Cases, world: World) -> None:
        self._addresses = addresses
        self._cases = cases
        self._world = world
        self._channels = {
            address: grpc.aio.insecure_channel(address, options=OPTIONS)
            for address in set(addresses.values())
            if not address.startswith("http")
        }
        self._ended: Counter[tuple[str, str]] = Counter()
        self._sent: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._own = 0
        self._broken = 0
        self._begun = 0
        self.done = 0

    async def run(self, first: int, messages: int, seconds: float) -> None:
        end = time.monotonic() + seconds
        numbers = iter(range(first, 1 << 40))

        async def call() -> None:
            while self._begun < messages and time.monotonic() < end:
                case = self._cases.case(next(numbers))
                self._begun += max(1, len(case.messages))
                random = Random(case.number)
                if random.random() < SOCKETS:
                    address = server_of(case, self._addresses)
                    await break_connection(address, case, random)
                    self._broken += 1
                    self.done += 1
                else:
                    await self._one(case)

        telling = asyncio.create_task(self._tell())
        await asyncio.gather(*(call() for _ in range(AT_ONCE)))
        telling.cancel()
        self._tell_now()
        for channel in self._channels.values():
            await channel.close()

    async def _one(self, case: Case) -> None:
        task = asyncio.create_task(self._call(case))
        done, _ = await asyncio.wait([task], timeout=case.seconds + HANG_SECONDS)
        if done:
            outcome = task.result()
        else:
            task.cancel()
            outcome = Outcome(code="NONE", details="it did not end", hung=True)
        self.done += max(1, len(case.messages))
        self._sent[case.method] += max(1, len(case.messages))
        if outcome.code == "INTERNAL" and outcome.details.startswith(CLIENTS_OWN):
            # Counted apart; the server's own tally says how it ended the call.
            self._own += 1
            return
        self._ended[case.method, outcome.code] += 1
        if (answer := parsed(case, outcome)) is not None:
            self._world.observe(case.method, case.who, case.requests[0], answer)
        if outcome.defect:
            self._told[case.method] += 1
            if self._told[case.method] <= FAILURES:
                tell("failure", code=outcome.code, details=outcome.details, case=case.describe())

    async def _call(self, case: Case) -> Outcome:
        channel = self._channels[server_of(case, self._addresses)]
        method = PATHS[case.method]
        answers: list[bytes] = []
        gone = case.cut is not None and case.cut == len(case.messages)
        try:
            if method.client_streaming or method.server_streaming or len(case.messages) != 1:
                call = channel.stream_stream(case.method)(
                    _sent(case), metadata=case.metadata, timeout=case.seconds
                )
                if case.cut is not None:
                    asyncio.get_running_loop().call_later(0.001 * case.cut, call.cancel)
                while case.reads is None or len(answers) < case.reads:
                    answer = await call.read()
                    if answer is grpc.aio.EOF:
                        break
                    answers.append(answer)
                if case.reads is not None:
                    call.cancel()
                    return Outcome(code="CANCELLED", answer=answers[0] if answers else None)
                code, details = await call.code(), await call.details()
                return Outcome(
                    code=code.name, details=details or "", answer=answers[0] if answers else None
                )
            unary = channel.unary_unary(case.method)(
                case.messages[0], metadata=case.metadata, timeout=case.seconds
            )
            if gone or case.cut == 0:
                asyncio.get_running_loop().call_later(0.0005, unary.cancel)
            return Outcome(code="OK", answer=await unary)
        except grpc.aio.AioRpcError as error:
            return Outcome(code=error.code().name, details=error.details() or "")
        except asyncio.CancelledError:
            return Outcome(code="CANCELLED")
        except (grpc.aio.UsageError, ValueError) as error:
            return Outcome(code="REFUSED_BY_CLIENT", details=str(error))

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            self._tell_now()

    def _tell_now(self) -> None:
        ended = [[method, code, count] for (method, code), count in self._ended.items()]
        tell(
            "tally", done=self.done, ended=ended, sent=dict(self._sent), clients_own=self._own,
            sockets=self._broken, reached={}, defects=[], log=[],
        )  # fmt: skip


async def _sent(case: Case) -> AsyncIterator[bytes]:
    for index, raw in enumerate(case.messages):
        if case.cut == index:
            await asyncio.sleep(0.01)
        yield raw


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("addresses", type=json.loads)
    parser.add_argument("home", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    addresses: dict[str, Any] = options.addresses
    world = World(addresses)
    folder = options.home / "controller" / "keys"
    callers = Callers(lambda: Keys(folder).signer, world)
    wire = Wire(addresses, Cases(options.seed, world, callers), world)
    settle()
    await wire.run(options.first, options.messages, options.seconds)
    tell("end")


if __name__ == "__main__":
    asyncio.run(main())
