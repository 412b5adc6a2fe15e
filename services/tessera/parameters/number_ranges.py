"""A set of whole numbers that is mostly runs, kept as the runs. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


class NumberRanges:
    """Grows number by number; takes memory for each run, not for each number.

    Args:
        ranges: first and last number of each run that it has.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._ranges = _joined(ranges)

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """First and last number of each run, ascending; between two runs lies a number."""
        return tuple(self._ranges)

    @property
    def highest(self) -> int:
        """The highest number; 0 if there is none."""
        return self._ranges[-1][1] if self._ranges else 0  # Runs never go, they only join.

    def add(self, number: int) -> None:
        """Take one more."""
        if number not in self:
            self._ranges = _joined([*self._ranges, (number, number)])

    def __contains__(self, number: int) -> bool:
        ranges = self._ranges  # Another thread may put others in their place.
        at = bisect_right(ranges, number, key=lambda pair: pair[0]) - 1
        return at >= 0 and number <= ranges[at][1]


def _joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The runs in order, those that touch made one."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found
