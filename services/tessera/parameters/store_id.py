"""Whose data a shard holds: one coordinator's store, for ever."""

from __future__ import annotations

import threading

import structlog

from tessera import errors
from tessera.parameters.checked_file import FileKind, read_checked, write_checked
from tessera.parameters.vault import OWNER, Vault

log = structlog.get_logger()

STORE = FileKind("tessera-store-1", "store id", "STORE_ID_DAMAGED")


class StoreId:
    """The id in a shard's vault: taken from the first coordinator that asks for something.

    Args:
        vault: of the shard.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._lock = threading.Lock()
        self._id = ""
        try:
            self._id = read_checked(vault, OWNER, STORE).decode()
        except FileNotFoundError:
            pass
        except errors.DataLossError:
            log.error("unreadable store id: the next coordinator's counts", path=OWNER)  # noqa: TRY400

    @property
    def value(self) -> str:
        """The id; empty: none yet."""
        return self._id

    def claim(self, store: str) -> None:
        """Belong to that store, unless it is another's already."""
        with self._lock:
            if not self._id:
                write_checked(self._vault, OWNER, STORE, store.encode())
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
