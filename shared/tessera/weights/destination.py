"""Where a reader keeps what it wants. Pure."""

from __future__ import annotations

from typing import Protocol

from tessera.weights.strided import Bytes


class Destination(Protocol):
    """Where a wanted box goes: writable contiguous bytes."""

    @property
    def out(self) -> Bytes:
        """The bytes."""


def window(destination: Destination, start: int, size: int) -> memoryview:
    """Some of its bytes; of many small ones quicker to make, fill and hash than numpy's views."""
    return destination.out.data.cast("B")[start : start + size]
