"""Whoever reads the newest version reads one that stays, however fast others come."""

from __future__ import annotations

import threading
import time

import pytest

from tessera import errors


@pytest.mark.waits
def test_a_reader_of_the_newest_never_loses_it(writer, reader):
    """Of a set that keeps one version, while commits come one after another."""
    writer.acquire(keep=1)
    writer.publish(1)
    ended, committed = threading.Event(), []

    def commit():
        seed = 1
        while not ended.is_set():
            seed += 1
            committed.append(writer.publish(seed).number)

    thread = threading.Thread(target=commit)
    thread.start()
    try:
        seen = set()
        end = time.monotonic() + 20
        while len(seen) < 5 and time.monotonic() < end:
            with reader.reading(writer.set, 0, ("model",), "test") as manifest:
                number = manifest.version.number
                time.sleep(0.1)
                assert writer.check(number) == number
            seen.add(number)
    finally:
        ended.set()
        thread.join(20)
    assert len(seen) == 5
    writer.publish(1000)
    assert len(reader.list_versions(writer.set)) == 1, "pins were given back"


def test_a_pin_is_given_back_whatever_happens(writer, reader):
    writer.acquire(keep=1)
    writer.publish(1)
    with pytest.raises(KeyError), reader.reading(writer.set, 1, ("model",), "test"):
        raise KeyError
    writer.publish(2)
    assert [version.number for version in reader.list_versions(writer.set)] == [2]


def test_what_is_not_there_is_said_at_once(writer, reader):
    writer.acquire(keep=1)
    for seed in (1, 2):
        writer.publish(seed)
    for version, reason in ((1, "VERSION_DROPPED"), (9, "VERSION_NOT_FOUND")):
        with pytest.raises(errors.NotFoundError) as caught:
            reader.get_pinned(writer.set, version, ("model",), "me", 60)
        assert caught.value.reason == reason
