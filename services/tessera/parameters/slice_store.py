"""Pieces on a shard's disk, by version; a restarted shard knows them from the files alone.

`{tenant}/{set}/{version}/{piece}.bin` holds bytes, `{rank}.index` says what lies in the rank's
pieces. Bytes are written to `.tmp`, fsynced and renamed; the index comes last, the same way. So a
rank's slices are all there, or (if the process dies before) none, and files that no index names
are swept away at the next start.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog
from google.protobuf.message import DecodeError

from tessera import errors
from tessera.api.parameters.v1 import manifest_pb2 as pb
from tessera.parameters.pending import PendingPiece
from tessera.parameters.slice_file import SliceFile
from tessera.paths import below
from tessera.weights import messages
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
        list(self._writers.map(lambda piece: _land(piece, folder), pieces))
        # One entry for each group; the piece is the group's when the index is read back.
        index = pb.Manifest(
            slices=[messages.slice_to_pb(source) for piece in pieces for source in piece.slices],
            tensors=[pb.Tensor(name=piece.name, group=piece.group) for piece in pieces],
        )
        target = folder / f"{rank}.index"
        temporary = target.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(index.SerializeToString())
            file.flush()
            os.fsync(file.fileno())
        # The bytes' names must be durable before the index that counts on them.
        _sync_folder(folder)
        temporary.rename(target)
        _sync_folder(folder)
        with self._lock:
            self._ranks[key][rank] = [source for piece in pieces for source in piece.slices]
            for piece in pieces:
                path = folder / f"{piece.name}.bin"
                self._pieces[key][piece.name] = SliceFile(
                    path, piece.group, piece.slices, verified=True
                )

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
        """
        with self._lock:
            found = self._pieces.get(key, {}).get(name)
        if found is None:
            raise errors.NotFoundError(
                f"{key[0]}@{key[1]} has no piece {name} here; it was dropped, read a newer version",
                reason="PIECE_NOT_FOUND",
            )
        return found

    def drop(self, key: Key, groups: Sequence[str] = ()) -> int:
        """Forget a version, or some groups of it; returns the bytes freed."""
        with self._lock:
            pieces = self._pieces.get(key, {})
            gone = [piece for piece in pieces.values() if not groups or piece.group in groups]
            for piece in gone:
                del pieces[piece.path.stem]
            if not groups:
                self._pieces.pop(key, None)
                self._ranks.pop(key, None)
        folder = self.folder(key)
        if not groups:
            # Indices first: a version of which only some bytes are left must not come back.
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
        named: set[str] = set()
        for path in folder.glob("*.index"):
            try:
                index = pb.Manifest.FromString(path.read_bytes())
            except DecodeError:
                log.error("unreadable index", path=str(path))  # noqa: TRY400 - no stack needed
                continue
            groups = {tensor.name: tensor.group for tensor in index.tensors}
            by_piece: dict[str, list[SliceSpec]] = {name: [] for name in groups}
            for message in index.slices:
                by_piece[message.piece].append(messages.slice_from_pb(message))
            named.update(groups)
            self._ranks[key][int(path.stem)] = [s for part in by_piece.values() for s in part]
            for name, slices in by_piece.items():
                piece = SliceFile(folder / f"{name}.bin", groups[name], slices, verified=False)
                self._admit(key, name, piece)
        for path in folder.iterdir():
            if path.suffix == ".tmp" or (path.suffix == ".bin" and path.stem not in named):
                log.info("removed what a killed process left", path=path.name)
                path.unlink()

    def _admit(self, key: Key, name: str, piece: SliceFile) -> None:
        if not piece.path.exists():
            return  # Its group was dropped.
        size = piece.path.stat().st_size
        if size != piece.size:
            log.error("damaged piece", path=piece.path.name, size=size, expected=piece.size)
            return
        self._pieces[key][name] = piece


def _land(piece: PendingPiece, folder: Path) -> None:
    piece.write()
    piece.path.rename(folder / f"{piece.name}.bin")


def _make_folders(folder: Path, root: Path) -> None:
    """Make a folder whose name survives a power cut."""
    folder.mkdir(parents=True, exist_ok=True)
    while folder != root:
        folder = folder.parent
        _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
