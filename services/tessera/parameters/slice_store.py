"""Pieces on a shard's disk, by version; a restarted shard knows them from the files alone.

`{tenant}/{set}/{version}/{piece}.bin` holds bytes, `{rank}.index` says what lies in the rank's
pieces. Bytes are written to `.tmp`, fsynced and renamed; the index comes last, the same way. So a
rank's slices are all there, or (if the process dies before) none. Nothing but a `.tmp` is ever
deleted because of what the files say: what is damaged stays, costs no other version anything, and
is said to be damaged when it is asked for.
"""

from __future__ import annotations

import shutil
import threading
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import structlog

from tessera import errors
from tessera.parameters.index_file import read_index, sync_folder, write_index
from tessera.parameters.pending import PendingPiece
from tessera.parameters.slice_file import SliceFile
from tessera.paths import below
from tessera.weights.manifest import SliceSpec

log = structlog.get_logger()

Key = tuple[str, int]
"""Set and version."""


class SliceStore:
    """The pieces of one shard.

    Args:
        root: its directory; it is scanned now.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._writers = ThreadPoolExecutor(4, thread_name_prefix="fsync")
        self._ranks: dict[Key, dict[int, list[SliceSpec]]] = defaultdict(dict)
        self._pieces: dict[Key, dict[str, SliceFile]] = defaultdict(dict)
        self._damaged: dict[Key, list[str]] = defaultdict(list)
        for folder in sorted(root.glob("*/*/*")):
            if folder.is_dir() and folder.name.isdigit():
                self._scan(folder)

    def folder(self, key: Key) -> Path:
        """Where the pieces of a version lie.

        Raises:
            InvalidArgumentError: that would not be below the root (INVALID_NAME).
        """
        return below(self.root, *key[0].split("/"), str(key[1]))

    def persist(self, key: Key, rank: int, pieces: Sequence[PendingPiece]) -> None:
        """Make what a rank pushed durable; the memory is free afterwards."""
        folder = self.folder(key)
        _make_folders(folder, self.root)
        landing = [self._writers.submit(_land, piece, folder) for piece in pieces]
        # All of them have ended before anything is said of one: whoever gives up removes files.
        wait(landing)
        for landed in landing:
            landed.result()
        write_index(
            folder / f"{rank}.index", {(piece.name, piece.group): piece.slices for piece in pieces}
        )
        with self._lock:
            self._ranks[key][rank] = [source for piece in pieces for source in piece.slices]
            for piece in pieces:
                self._pieces[key][piece.name] = SliceFile(piece.path, piece.group, piece.slices)

    def rank(self, key: Key, rank: int) -> list[SliceSpec] | None:
        """What a rank has here, durably; None if nothing."""
        with self._lock:
            return self._ranks[key].get(rank) if key in self._ranks else None

    def slices(self, key: Key) -> list[SliceSpec]:
        """Everything durable of a version."""
        with self._lock:
            pieces = self._pieces.get(key, {}).values()
            return [source for piece in pieces for source in piece.slices.values()]

    def piece(self, key: Key, name: str) -> SliceFile:
        """A piece, for reading.

        Raises:
            NotFoundError: it is not here, or was dropped (reason PIECE_NOT_FOUND).
            DataLossError: what would say where it is was damaged (INDEX_DAMAGED).
        """
        with self._lock:
            found = self._pieces.get(key, {}).get(name)
            damaged = self._damaged.get(key)
        if found is not None:
            return found
        if damaged:
            raise errors.DataLossError(
                f"{key[0]}@{key[1]} may have piece {name} here, but the disk has damaged"
                f" {', '.join(damaged)}; read another version",
                reason="INDEX_DAMAGED",
            )
        raise errors.NotFoundError(
            f"{key[0]}@{key[1]} has no piece {name} here; it was dropped, read a newer version",
            reason="PIECE_NOT_FOUND",
        )

    def drop(self, key: Key, groups: Sequence[str] = ()) -> int:
        """Forget a version, or some groups of it; returns the bytes freed."""
        folder = self.folder(key)
        with self._lock:
            pieces = self._pieces.get(key, {})
            gone = [piece for piece in pieces.values() if not groups or piece.group in groups]
            for piece in gone:
                del pieces[piece.path.stem]
            if not groups:
                self._pieces.pop(key, None)
                self._ranks.pop(key, None)
                self._damaged.pop(key, None)
        # Indices first: what was dropped must not be missed, nor come back.
        if groups:
            _forget(folder, gone)
        else:
            for index in folder.glob("*.index"):
                index.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
        for piece in gone:
            piece.path.unlink(missing_ok=True)
        return sum(piece.size for piece in gone)

    @property
    def disk_bytes(self) -> int:
        """Bytes of all pieces."""
        with self._lock:
            return sum(p.size for pieces in self._pieces.values() for p in pieces.values())

    @property
    def versions(self) -> int:
        """Versions of which there is something."""
        with self._lock:
            return sum(1 for pieces in self._pieces.values() if pieces)

    @property
    def sets(self) -> int:
        """Sets of which there is a version."""
        with self._lock:
            return len({name for (name, _), pieces in self._pieces.items() if pieces})

    def close(self) -> None:
        """End the threads."""
        self._writers.shutdown()

    def _scan(self, folder: Path) -> None:
        key = (folder.parent.relative_to(self.root).as_posix(), int(folder.name))
        for path in folder.glob("*.tmp"):
            log.info("removed what a killed process left", path=path.name)
            path.unlink()
        named: set[str] = set()
        for path in folder.glob("*.index"):
            try:
                contents = read_index(path)
            except errors.DataLossError as error:
                log.error("unreadable index", path=str(path), reason=error.reason)  # noqa: TRY400
                self._damaged[key].append(path.name)
                continue
            self._ranks[key][int(path.stem)] = [s for part in contents.values() for s in part]
            for (name, group), slices in contents.items():
                self._pieces[key][name] = SliceFile(folder / f"{name}.bin", group, slices)
                named.add(name)
        # Of a rank that was killed before its index was there, or whose index was lost.
        for path in folder.glob("*.bin"):
            if path.stem not in named:
                self._damaged[key].append(f"the index of {path.name}")


def _forget(folder: Path, gone: Sequence[SliceFile]) -> None:
    """Take pieces out of the indices of a version."""
    names = {piece.path.stem for piece in gone}
    for path in folder.glob("*.index"):
        try:
            contents = read_index(path)
        except errors.DataLossError:
            continue  # Of what it said nothing can be read any more.
        left = {key: slices for key, slices in contents.items() if key[0] not in names}
        if len(left) < len(contents):
            write_index(path, left)


def _land(piece: PendingPiece, folder: Path) -> None:
    piece.write()
    piece.move(folder / f"{piece.name}.bin")


def _make_folders(folder: Path, root: Path) -> None:
    """Make a folder whose name survives a power cut."""
    folder.mkdir(parents=True, exist_ok=True)
    while folder != root:
        folder = folder.parent
        sync_folder(folder)
