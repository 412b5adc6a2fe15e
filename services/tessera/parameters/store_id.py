"""Whose data a shard holds: one coordinator's store, for ever."""

from __future__ import annotations

import threading
from pathlib import Path

import structlog

from tessera import errors
from tessera.parameters.checked_file import FileKind, read_checked, write_checked

log = structlog.get_logger()

NAME = ".store"
STORE = FileKind("tessera-store-1", "store id", "STORE_ID_DAMAGED")


class StoreId:
    """The id in a shard's folder: taken from the first coordinator that asks for something.

    Args:
        root: of the shard.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / NAME
        self._lock = threading.Lock()
        self._id = ""
        try:
            self._id = read_checked(self._path, STORE).decode()
        except FileNotFoundError:
            pass
        except errors.DataLossError:
            log.error("unreadable store id: the next coordinator's counts", path=str(root))  # noqa: TRY400

    @property
    def value(self) -> str:
        """The id; empty: none yet."""
        return self._id

    def claim(self, store: str) -> None:
        """Belong to that store, unless it is another's already."""
        with self._lock:
            if not self._id:
                write_checked(self._path, STORE, store.encode())
                self._id = store

    def require(self, store: str) -> None:
        """Raise unless that store may change what is here; the first one that asks may.

        Raises:
            FailedPreconditionError: it is another store's (STORE_MISMATCH).
        """
        self.claim(store)
        if self._id != store:
            raise errors.FailedPreconditionError(
                f"this shard's data belongs to store {self._id}, not to {store}: start the"
                " coordinator on its own folder, or give the shard an empty one",
                reason="STORE_MISMATCH",
                metadata={"store": self._id},
            )
