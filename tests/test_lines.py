"""First and last lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tessera.lines import MAX_LINE, first_line, last_line


@given(st.text(st.sampled_from("ab \n\r\t"), max_size=30))
def test_they_are_lines_of_the_text(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    assert first_line(text) == (lines[0] if lines else "")
    assert last_line(text) == (lines[-1] if lines else "")


def test_long_lines_are_cut_and_silent_errors_named():
    assert len(first_line("x" * 10_000)) == len(last_line("x" * 10_000)) == MAX_LINE
    assert first_line(KeyError()) == "KeyError"
    assert first_line(OSError("no\nway")) == "no"
