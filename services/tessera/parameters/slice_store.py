"""What a shard has in its vault: `{tenant}/{set}/{version}/`, and what it was told to forget."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from tessera import errors
from tessera.parameters.dropped_versions import DroppedVersions
from tessera.parameters.head_file import read_head, write_head
from tessera.parameters.pending import ArrivedPiece
from tessera.parameters.slice_file import SliceFile, file_of
from tessera.parameters.vault import LinkedFile, NewFile, Vault
from tessera.parameters.version_folder import VersionFolder, dropped, lost
from tessera.parameters.version_record import VersionRecord
from tessera.paths import joined
from tessera.weights.manifest import HeadMove, SliceSpec

Key = tuple[str, int]
"""Set and version."""


class SliceStore:
    """The versions of one shard.

    Args:
        vault: that they are kept in; it is scanned now.
    """

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self._lock = threading.Lock()
        self._changing = threading.Lock()
        self._writers = ThreadPoolExecutor(4, thread_name_prefix="fsync")
        names = [f"{tenant}/{own}" for tenant in vault.folders() for own in vault.folders(tenant)]
        self._dropped = {name: DroppedVersions(vault, name) for name in names}
        self._heads = {name: move for name in names if (move := read_head(vault, name)) is not None}
        self._folders: dict[str, dict[int, VersionFolder]] = defaultdict(dict)
        for name in names:
            for number in filter(str.isdecimal, vault.folders(name)):
                self._folders[name][int(number)] = VersionFolder.scan(vault, f"{name}/{number}")

    def folder(self, key: Key) -> str:
        """Where the pieces of a version lie in the vault.

        Raises:
            InvalidArgumentError: it has no such place (INVALID_NAME).
        """
        return joined(*key[0].split("/"), str(key[1]))

    def create(self, key: Key, name: str) -> NewFile:
        """A new file for a piece of a version.

        Raises:
            InvalidArgumentError: there is no place for it (INVALID_NAME).
        """
        return self.vault.create(f"{self.folder(key)}/{file_of(name)}")

    def link(self, key: Key, name: str, piece: SliceFile) -> LinkedFile:
        """A new file for a piece of a version, with the bytes of another piece.

        Raises:
            OSError: that one is gone, or the vault has no links.
        """
        return self.vault.link(piece.file, f"{self.folder(key)}/{file_of(name)}")

    def persist(self, key: Key, rank: int, pieces: Sequence[ArrivedPiece]) -> None:
        """Make what a rank pushed durable; the memory is free afterwards."""
        self._made(key).persist(rank, pieces, self._writers)

    def has(self, key: Key, name: str) -> bool:
        """Whether a piece should be here, whatever has become of it."""
        folder = self._find(key)
        return folder is not None and folder.has(name)

    def same(self, name: str, slices: Sequence[SliceSpec]) -> SliceFile | None:
        """A sound piece of any version of a set in which all these lie as they should.

        Newer versions first: what has not changed since the last one lies there.
        """
        wanted = {(s.offset, s.size, s.checksum, s.blocks) for s in slices}
        for _, folder in sorted(self.held(name).items(), reverse=True):
            if (found := folder.same(wanted)) is not None:
                return found
        return None

    def take_copy(
        self, key: Key, name: str, group: str, slices: Sequence[SliceSpec], file: NewFile
    ) -> None:
        """Let a file that is synced be a piece of a version.

        Raises:
            NotFoundError: that was dropped meanwhile (VERSION_DROPPED).
        """
        # With the lock of `drop`: what comes before it is removed by it.
        with self._changing:
            if self.was_dropped(key):
                raise errors.NotFoundError(
                    f"{key[0]}@{key[1]} was dropped", reason="VERSION_DROPPED"
                )
            self._made(key).take_copy(name, group, slices, file)

    def supersede(self, key: Key) -> None:
        """Whatever a version should have here is here: what could not be read counts no more."""
        if (folder := self._find(key)) is not None:
            folder.supersede()

    def record(self, key: Key, record: VersionRecord) -> None:
        """Keep what makes a version a committed one, durably."""
        self._made(key).record(record)

    def record_head(self, name: str, move: HeadMove) -> None:
        """Keep a rollback of a set, durably, unless a later one is known."""
        folder = joined(*name.split("/"))
        with self._changing:
            known = self._heads.get(name)
            if known is None or known.sequence < move.sequence:
                self.vault.make_folder(folder)
                write_head(self.vault, folder, move)
                self._heads[name] = move

    def heads(self) -> dict[str, HeadMove]:
        """The last rollback of every set that was rolled back."""
        return dict(self._heads)

    def read(self, key: Key) -> VersionRecord | None:
        """What makes a version a committed one; None if it is not here.

        Raises:
            DataLossError: it is damaged (MANIFEST_DAMAGED).
        """
        folder = self._find(key)
        return folder.read() if folder else None

    def rank(self, key: Key, rank: int) -> list[SliceSpec] | None:
        """What a rank has here, durably; None if nothing."""
        folder = self._find(key)
        return folder.rank(rank) if folder else None

    def slices(self, key: Key) -> list[SliceSpec]:
        """Everything durable of a version."""
        folder = self._find(key)
        return folder.slices() if folder else []

    def piece(self, key: Key, name: str) -> SliceFile:
        """A piece, for reading.

        Raises:
            NotFoundError: it was dropped (reason PIECE_NOT_FOUND).
            DataLossError: it is not here for another reason.
        """
        if (folder := self._find(key)) is not None:
            return folder.piece(name)
        version = f"{key[0]}@{key[1]}"
        raise dropped(version, name) if self.was_dropped(key) else lost(version, name)

    def drop(self, key: Key, groups: Sequence[str] = ()) -> int:
        """Forget a version, or some groups of it; returns the bytes freed."""
        if groups:
            folder = self._find(key)
            return folder.forget(frozenset(groups)) if folder else 0
        path = self.folder(key)
        if not (self.vault.folders(key[0]) or self.vault.files(key[0])):
            return 0
        with self._changing:
            if key[0] not in self._dropped:
                self._dropped[key[0]] = DroppedVersions(self.vault, key[0])
            # Before anything is deleted: what is missing and was not dropped was lost.
            self._dropped[key[0]].add(key[1])
            with self._lock:
                gone = self._folders[key[0]].pop(key[1], None)
        return (gone or VersionFolder(self.vault, path)).remove()

    def was_dropped(self, key: Key) -> bool:
        """Whether the shard was told to forget all of a version."""
        return key[1] in self._dropped.get(key[0], ())

    def highest(self) -> dict[str, int]:
        """The highest number that was ever here, of every set."""
        found = {name: dropped.highest for name, dropped in list(self._dropped.items())}
        for name, number in self.held():
            found[name] = max(number, found.get(name, 0))
        return found

    def held(self, name: str = "") -> dict[Key, VersionFolder]:
        """The versions of a set, or of all."""
        with self._lock:
            names = [name] if name else list(self._folders)
            return {
                (each, number): folder
                for each in names
                for number, folder in self._folders.get(each, {}).items()
            }

    def note(self, key: Key, piece: SliceFile, error: errors.DataLossError) -> None:
        """A reader came upon damage."""
        if (folder := self._find(key)) is not None:
            folder.note(piece, error)

    def verify(self, key: Key) -> Iterator[int]:
        """Read every block of a version; yields the bytes of each part."""
        if (folder := self._find(key)) is not None:
            yield from folder.verify()

    @property
    def disk_bytes(self) -> int:
        """Bytes of all pieces."""
        return sum(folder.size for folder in self.held().values())

    @property
    def versions(self) -> int:
        """Versions of which there is something."""
        return sum(1 for folder in self.held().values() if folder.size)

    @property
    def damaged_versions(self) -> int:
        """Versions of which something is known to be damaged."""
        return sum(1 for folder in self.held().values() if folder.damage)

    def close(self) -> None:
        """End the threads."""
        self._writers.shutdown()

    def _find(self, key: Key) -> VersionFolder | None:
        with self._lock:
            return self._folders.get(key[0], {}).get(key[1])

    def _made(self, key: Key) -> VersionFolder:
        path = self.folder(key)
        with self._lock:
            versions = self._folders[key[0]]
            if key[1] not in versions:
                versions[key[1]] = VersionFolder(self.vault, path)
            return versions[key[1]]
