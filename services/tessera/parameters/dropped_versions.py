"""Which versions of a set a shard was told to forget: what is missing else was lost."""

from __future__ import annotations

import json

import structlog

from tessera import errors
from tessera.parameters.checked_file import FileKind, read_checked, write_checked
from tessera.parameters.number_ranges import NumberRanges
from tessera.parameters.vault import Vault

log = structlog.get_logger()

NAME = "dropped"
DROPPED = FileKind("tessera-dropped-1", "list of dropped versions", "DROPPED_DAMAGED")


class DroppedVersions:
    """The numbers, in a file of the set's folder.

    Args:
        vault: of the shard.
        folder: of the set.
    """

    def __init__(self, vault: Vault, folder: str) -> None:
        self._vault = vault
        self._file = f"{folder}/{NAME}"
        self._numbers = NumberRanges()
        try:
            ranges = json.loads(read_checked(vault, self._file, DROPPED))
            self._numbers = NumberRanges((first, last) for first, last in ranges)
        except FileNotFoundError:
            pass
        except errors.DataLossError:
            # It stays, under another name, for whoever wants to know what it said.
            log.error("unreadable list of dropped versions", path=self._file)  # noqa: TRY400
            vault.rename(self._file, f"{self._file}.damaged")

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
            content = json.dumps(self._numbers.ranges).encode()
            write_checked(self._vault, self._file, DROPPED, content)
