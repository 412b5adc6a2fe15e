"""Which rows of different lengths are computed together. Pure."""

from __future__ import annotations

from collections.abc import Sequence

_LEAST_FILL = 0.5
"""Of a padded batch: more padding than that costs more than another pass."""


def pack(lengths: Sequence[int]) -> list[list[int]]:
    """Rows in groups, so that no group is padded to more than twice what is in it.

    Args:
        lengths: of the rows.

    Returns:
        Indexes of rows, each in one group.
    """
    groups: list[list[int]] = []
    real = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        length = lengths[row]
        if groups and real + length >= _LEAST_FILL * lengths[groups[-1][0]] * (len(groups[-1]) + 1):
            groups[-1].append(row)
            real += length
        else:
            groups.append([row])
            real = length
    return groups
