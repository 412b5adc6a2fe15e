"""What waits to be delivered."""

from __future__ import annotations

from tessera.trainer.control.outbox import Outbox


def test_an_outbox_keeps_numbers_until_they_are_acknowledged():
    outbox: Outbox[str] = Outbox(3, lambda item: item != "keep")
    for item in ("a", "b"):
        outbox.put(item)
    assert outbox.batch(1) == [(1, "a")]
    assert outbox.batch(5) == [(1, "a"), (2, "b")]
    outbox.acknowledge(1)
    assert outbox.batch(5) == [(2, "b")]
    for item in ("keep", "c", "d", "e"):
        outbox.put(item)
    assert outbox.lost == 1
    assert outbox.batch(9) == [(2, "b"), (3, "keep"), (4, "d"), (5, "e")]
    outbox.acknowledge(5)
    assert outbox.empty
