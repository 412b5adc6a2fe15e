"""Reads what a shard has on its disk, again and again, before anybody needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import structlog

from tessera.background import Background
from tessera.parameters.slice_store import SliceStore

log = structlog.get_logger()

PART_BYTES = 4 * 1024 * 1024
PAUSE_SECONDS = 60.0
"""Between two rounds: what is small needs not be read all the time."""


class Scrubber:
    """Verifies every version in turn; what is damaged is known to the store afterwards.

    Args:
        store: of the shard.
        rate: bytes to read in a second; 0: none.
    """

    def __init__(self, store: SliceStore, rate: int) -> None:
        self._store = store
        self._rate = rate
        self._rounds = Background("scrubber", self._round)

    def start(self) -> None:
        """Begin, inside a running loop."""
        if self._rate:
            self._rounds.start()

    async def stop(self) -> None:
        """End, when what is being read has been."""
        await self._rounds.stop()

    async def _round(self) -> None:
        for key, folder in self._store.held().items():
            known = folder.damage
            parts, more = self._store.verify(key), True
            while more:
                read, more = await asyncio.to_thread(advance, parts, PART_BYTES)
                await asyncio.sleep(read / self._rate)
            if self._store.held(key[0]).get(key) is not folder:
                continue  # It was dropped meanwhile: its files are not lost.
            for damage in set(folder.damage) - set(known):
                log.error("damaged", set=key[0], version=key[1], text=damage.text)
        await asyncio.sleep(PAUSE_SECONDS)


def advance(parts: Iterator[int], size: int) -> tuple[int, bool]:
    """Read at least so many bytes of a version, if it has them.

    Args:
        parts: what `SliceStore.verify` returned.
        size: bytes.

    Returns:
        Bytes that were read, and whether there may be more.
    """
    read = 0
    for part in parts:
        read += part
        if read >= size:
            return read, True
    return read, False
