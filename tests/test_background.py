"""Loops beside the calls of a server go on whatever a round runs into, and end when told."""

from __future__ import annotations

import asyncio

from structlog.testing import CapturingLogger

from tessera import background
from tessera.background import Background, comes


async def test_a_round_that_breaks_is_logged_and_the_next_comes(monkeypatch):
    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(background, "log", logged := CapturingLogger())
    begun, third = [], asyncio.Event()

    async def once():
        begun.append(1)
        if len(begun) == 3:
            third.set()
            await asyncio.Event().wait()
        raise IndexError("what nobody thought of")

    work = Background("reading", once)
    work.start()
    assert await comes(third, 10)
    await work.stop()
    assert [(call.method_name, call.kwargs["work"]) for call in logged.calls] == [
        ("exception", "reading")
    ] * 2


async def test_what_never_began_can_be_stopped():
    await Background("nothing", asyncio.Event().wait).stop()


async def test_it_ends_although_what_it_waits_for_comes_at_the_same_time():
    for _ in range(50):
        event = asyncio.Event()

        async def once(event=event):
            await comes(event, 60)
            event.clear()

        work = Background("waiting", once)
        work.start()
        await asyncio.sleep(0)
        event.set()
        async with asyncio.timeout(10):
            await work.stop()


async def test_an_event_comes_in_time_or_not():
    event = asyncio.Event()
    assert not await comes(event, 0.01)
    asyncio.get_running_loop().call_later(0.01, event.set)
    assert await comes(event, 10)
    assert await comes(event, 0.0)
