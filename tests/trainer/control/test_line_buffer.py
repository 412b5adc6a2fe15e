"""What a process prints, cut into lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tessera.trainer.control.outbox import Outbox
from tessera.trainer.control.output import LineBuffer


@given(st.lists(st.text("ab\n\r", max_size=6)))
def test_lines_are_the_same_however_they_are_cut(parts):
    outbox: Outbox[str] = Outbox(1000)
    lines = LineBuffer(outbox.put)
    for part in parts:
        lines.write(part)
    whole = "".join(parts).split("\n")[:-1]
    expected = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in whole]
    assert [line for _, line in outbox.batch(1000)] == expected
