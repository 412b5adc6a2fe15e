"""Which versions of a set a shard was told to forget: what is missing else was lost."""

from __future__ import annotations

import json
from pathlib import Path

import structlog

from tessera import errors
from tessera.parameters.checked_file import FileKind, read_checked, write_checked
from tessera.parameters.number_ranges import NumberRanges

log = structlog.get_logger()

NAME = "dropped"
DROPPED = FileKind("tessera-dropped-1", "list of dropped versions", "DROPPED_DAMAGED")


class DroppedVersions:
    """The numbers, in a file of the set's folder.

    Args:
        folder: of the set.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._numbers = NumberRanges()
        try:
            ranges = json.loads(read_checked(self._path, DROPPED))
            self._numbers = NumberRanges((first, last) for first, last in ranges)
        except FileNotFoundError:
            pass
        except errors.DataLossError:
            # It stays, under another name, for whoever wants to know what it said.
            log.error("unreadable list of dropped versions", path=str(self._path))  # noqa: TRY400
            self._path.rename(self._path.with_suffix(".damaged"))

    @property
    def highest(self) -> int:
        """The highest number that was dropped; 0 if none was."""
        return self._numbers.highest

    def __contains__(self, number: int) -> bool:
        return number in self._numbers

    def add(self, number: int) -> None:
        """Note that a version is to be forgotten, durably."""
        if number not in self._numbers:
            self._numbers.add(number)
            write_checked(self._path, DROPPED, json.dumps(self._numbers.ranges).encode())
