"""Work that takes longer than a call, polled; and a disk that is slower than any call may be."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

import pytest

from tessera import errors
from tessera.parameters import operations
from tessera.parameters.local_vault import LocalNewFile
from tessera.parameters.operations import Operations


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(operations, "POLL_SECONDS", 0.02)


async def test_it_goes_on_between_the_calls_and_is_done_once(impatient):
    begun, ended = [], asyncio.Event()

    async def work(tell):
        begun.append(1)
        tell(7)
        await ended.wait()
        tell(9)
        return "done"

    it = Operations()
    first, second = await asyncio.gather(it.poll("a", work), it.poll("a", work))
    assert (first.result, first.done) == (second.result, second.done) == (None, 7)
    assert (await it.poll("b", work)).result is None
    ended.set()
    assert [
        polled.result for polled in await asyncio.gather(it.poll("a", work), it.poll("a", work))
    ] == ["done"] * 2
    assert len(begun) == 2, "one for each key"
    await it.close()


async def test_whoever_waits_hears_of_the_error_and_may_ask_again():
    tries = []

    async def work(_):
        tries.append(1)
        if len(tries) == 1:
            raise errors.FailedPreconditionError("not yet", reason="NOT_YET", retry_after=1.0)
        return len(tries)

    it = Operations()
    found = await asyncio.gather(it.poll("a", work), it.poll("a", work), return_exceptions=True)
    assert [(e.reason, e.retry_after, e.message) for e in found] == [
        ("NOT_YET", 1.0, "not yet")
    ] * 2
    assert found[0] is not found[1]
    assert (await it.poll("a", work)).result == 2


async def test_what_nobody_asks_after_is_forgotten_and_what_runs_ends_with_it(
    impatient, monkeypatch
):
    monkeypatch.setattr(operations, "KEPT_SECONDS", 0.01)
    it = Operations()
    await it.poll("short", lambda _: asyncio.sleep(0.05))
    await it.poll("long", lambda _: asyncio.sleep(60))
    await asyncio.sleep(0.2)
    assert list(it._tasks) == ["long"]
    (task,) = it._tasks.values()
    await it.close()
    assert task.cancelled()


async def test_an_error_that_nobody_asks_after_is_no_defect():
    gc.freeze()  # What was there before is not looked through.
    seen = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))

    async def work(_):
        await asyncio.sleep(0.01)
        raise errors.NotFoundError("gone", reason="GONE")

    it = Operations()
    asking = asyncio.create_task(it.poll("a", work))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.sleep(0.05)
    it._tasks.clear()
    gc.collect()
    assert seen == []


@pytest.mark.waits
def test_a_seal_takes_as_long_as_the_disk(writer, impatient, monkeypatch):
    """Longer than any call: of client, coordinator and shard."""
    monkeypatch.setattr("tessera.weights.coordinator.SEAL_SECONDS", 0.5)
    monkeypatch.setattr("tessera.parameters.shards.PERSIST_SECONDS", 0.5)
    write = LocalNewFile.write_at

    def slow(*args):
        time.sleep(0.4)
        write(*args)

    monkeypatch.setattr(LocalNewFile, "write_at", slow)
    writer.acquire()
    opened = writer.open(1)
    writer.push(opened, writer.content(1))
    begin = time.monotonic()
    writer.client.seal_version(opened)
    assert time.monotonic() - begin > 1.0
    assert writer.client.commit_version(opened).number == 1
    assert writer.check() == 1


def test_others_go_on_while_a_disk_is_slow(writer, another, impatient, monkeypatch):
    held = threading.Event()
    write = LocalNewFile.write_at

    def slow(*args):
        held.wait(20)
        write(*args)

    other = another("bert", job="j2")
    other.publish(3)
    monkeypatch.setattr(LocalNewFile, "write_at", slow)
    writer.acquire()
    opened = writer.open(1)
    writer.push(opened, writer.content(1))
    sealing = threading.Thread(target=writer.client.seal_version, args=(opened,))
    sealing.start()
    try:
        assert other.check() == 3
        assert [known.number for known in other.client.list_versions(other.set)] == [1]
    finally:
        held.set()
        sealing.join(20)
    assert not sealing.is_alive()
    assert writer.client.commit_version(opened).number == 1
