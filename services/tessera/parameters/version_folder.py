"""The files of one version on a shard's disk; what they say is all that a restarted shard knows.

`{piece}.bin` holds bytes, `{rank}.index` says what lies in the rank's pieces, `{piece}.index` what
lies in a copy of another shard's piece, `manifest` that the version is committed. Bytes are written
to `.tmp`, fsynced and renamed; the index comes last, the same way. So a rank's slices are all
there, or (if the process dies before) none. Nothing but a `.tmp` is ever deleted because of what
the files say: what is damaged stays, costs no other version anything, and is said to be damaged,
until a copy takes its place.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Executor, wait
from pathlib import Path

import structlog

from tessera import errors
from tessera.durable_file import make_folders
from tessera.parameters.damage import Damage
from tessera.parameters.index_file import read_index, write_index
from tessera.parameters.pending import ArrivedPiece
from tessera.parameters.slice_file import SliceFile
from tessera.parameters.version_record import NAME as RECORD
from tessera.parameters.version_record import VersionRecord, read_record, write_record
from tessera.weights.manifest import SliceSpec

log = structlog.get_logger()

_SEEN = ("PIECE_LOST", "SHORT_FILE")
"""Damage that a look at the folder finds."""


class VersionFolder:
    """What a shard has of a version: nothing yet, until `scan` or `persist`.

    Args:
        path: of the folder; it need not exist.
        root: of the shard.
    """

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        self._root = root
        self._lock = threading.Lock()
        self._ranks: dict[int, list[SliceSpec]] = {}
        self._pieces: dict[str, SliceFile] = {}
        self._size = 0
        self._damage: dict[str, Damage] = {}
        self.recorded = False
        self._dropped_groups: frozenset[str] = frozenset()

    @property
    def text(self) -> str:
        """What people call the version: set@number."""
        return f"{self.path.parent.relative_to(self._root).as_posix()}@{self.path.name}"

    @property
    def pieces(self) -> tuple[SliceFile, ...]:
        """All that its indices name, whatever has become of them."""
        with self._lock:
            return tuple(self._pieces.values())

    @property
    def damage(self) -> tuple[Damage, ...]:
        """What is known to be damaged."""
        with self._lock:
            return tuple(self._damage.values())

    @property
    def damaged_files(self) -> frozenset[str]:
        """Names of its files that are known to be damaged."""
        with self._lock:
            return frozenset(self._damage)

    @property
    def size(self) -> int:
        """Bytes of its pieces."""
        return self._size

    def rank(self, rank: int) -> list[SliceSpec] | None:
        """What a rank has here, durably; None if nothing."""
        return self._ranks.get(rank)

    def slices(self) -> list[SliceSpec]:
        """Everything durable of it."""
        return [source for piece in self.pieces for source in piece.slices.values()]

    def persist(self, rank: int, pieces: Sequence[ArrivedPiece], writers: Executor) -> None:
        """Make what a rank pushed durable; the memory is free afterwards."""
        make_folders(self.path, self._root)
        landing = [writers.submit(_land, piece, self.path) for piece in pieces]
        # All of them have ended before anything is said of one: whoever gives up removes files.
        wait(landing)
        for landed in landing:
            landed.result()
        write_index(
            self.path / f"{rank}.index",
            {(piece.name, piece.group): piece.slices for piece in pieces},
        )
        with self._lock:
            self._ranks[rank] = [source for piece in pieces for source in piece.slices]
            for piece in pieces:
                self._add(piece.name, SliceFile(piece.path, piece.group, piece.slices))

    def take_copy(self, name: str, group: str, slices: Sequence[SliceSpec], path: Path) -> None:
        """Let a file that is durable be a piece, in place of one that may be damaged."""
        make_folders(self.path, self._root)
        path.rename(self.path / f"{name}.bin")
        # Of its own: the rank's, if there is one, names what was pushed here.
        write_index(self.path / f"{name}.index", {(name, group): slices})
        with self._lock:
            self._pieces[name] = SliceFile(self.path / f"{name}.bin", group, slices)
            self._damage.pop(f"{name}.bin", None)
            self._damage.pop(f"{name}.index", None)

    def supersede(self) -> None:
        """All that should be here is: indices that cannot be read, and files of none, are put away.

        They stay in the folder, under names that nothing is looked for by.
        """
        with self._lock:
            known = {f"{name}.bin" for name in self._pieces}
            damaged = [name for name in self._damage if name.endswith(".index")]
            for name in damaged:
                del self._damage[name]
        strays = {path.name for path in self.path.glob("*.bin")} - known
        for name in [*damaged, *strays]:
            if (path := self.path / name).exists():
                path.rename(path.with_suffix(path.suffix + ".stray"))

    def has(self, name: str) -> bool:
        """Whether an index names a piece."""
        with self._lock:
            return name in self._pieces

    def same(self, wanted: Collection[tuple[int, int, int, tuple[int, ...]]]) -> Path | None:
        """The file of a sound piece in which slices lie: offset, size, checksum and blocks."""
        if not self.recorded:
            return None
        damaged = self.damaged_files
        for piece in self.pieces:
            has = {(s.offset, s.size, s.checksum, s.blocks) for s in piece.slices.values()}
            if piece.path.name not in damaged and has.issuperset(wanted):
                return piece.path
        return None

    def record(self, record: VersionRecord) -> None:
        """Keep what makes it a committed version."""
        make_folders(self.path, self._root)
        write_record(self.path, record)
        with self._lock:
            self.recorded = True
            self._damage.pop(RECORD, None)

    def read(self) -> VersionRecord | None:
        """What makes it a committed version; None if it is none.

        Raises:
            DataLossError: that is damaged (MANIFEST_DAMAGED).
        """
        return read_record(self.path)

    def piece(self, name: str) -> SliceFile:
        """A piece, for reading.

        Raises:
            NotFoundError: its group was dropped (PIECE_NOT_FOUND).
            DataLossError: it should be here, or what would say where it is was damaged.
        """
        with self._lock:
            found = self._pieces.get(name)
            damaged = sorted(name for name in self._damage if name.endswith(".index"))
        if found is not None:
            return found
        if any(f"-{group}-" in name for group in self._dropped_groups):
            raise dropped(self.text, name)
        if damaged:
            raise errors.DataLossError(
                f"{self.text} may have piece {name} here, but the disk has damaged"
                f" {', '.join(damaged)}; read another version",
                reason="INDEX_DAMAGED",
            )
        raise lost(self.text, name)

    def forget(self, groups: frozenset[str]) -> int:
        """Drop groups; returns the bytes freed."""
        with self._lock:
            gone = [piece for piece in self._pieces.values() if piece.group in groups]
            for piece in gone:
                self._size -= self._pieces.pop(piece.path.stem).size
                self._damage.pop(piece.path.name, None)
            self._dropped_groups |= groups
        # What says that they are here goes first: what was dropped must not be missed.
        self._rewrite_record(groups)
        self._rewrite_indices({piece.path.stem for piece in gone})
        for piece in gone:
            piece.path.unlink(missing_ok=True)
        return sum(piece.size for piece in gone)

    def remove(self) -> int:
        """Delete all of it; returns the bytes freed."""
        size = self.size
        for index in [self.path / RECORD, *self.path.glob("*.index")]:
            index.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)
        return size

    def check(self) -> None:
        """Look whether every piece is there and as long as it should be."""
        for piece in self.pieces:
            try:
                piece.check()
            except errors.DataLossError as error:
                self.note(piece, error)
            else:
                self._mend(piece, _SEEN)

    def verify(self) -> Iterator[int]:
        """Read every block; yields the bytes of each part that was read, or could not be.

        What is damaged is known afterwards, and what is whole again is not damaged any more.
        """
        for piece in self.pieces:
            done = 0
            try:
                for size in piece.verify():
                    done += size
                    yield size
            except errors.DataLossError as error:
                self.note(piece, error)
            else:
                self._mend(piece)
            yield piece.size - done

    def note(self, piece: SliceFile, error: errors.DataLossError) -> None:
        """A reader came upon damage."""
        with self._lock:
            if piece.path.stem in self._pieces:
                self._damage[piece.path.name] = Damage.of(error, piece.path.stem)

    def _mend(self, piece: SliceFile, reasons: Collection[str] = ()) -> None:
        """A piece is whole again, as far as damage of these reasons goes (none: any)."""
        with self._lock:
            known = self._damage.get(piece.path.name)
            if known is not None and (not reasons or known.reason in reasons):
                del self._damage[piece.path.name]

    def _add(self, name: str, piece: SliceFile) -> None:
        # Counted as they come and go: a shard is asked again and again how much it has.
        self._size += piece.size
        self._pieces[name] = piece

    @staticmethod
    def scan(path: Path, root: Path) -> VersionFolder:
        """What the files say that there is, after a start: nothing is being written."""
        found = VersionFolder(path, root)
        found._scan()
        return found

    def _scan(self) -> None:
        for path in self.path.glob("*.tmp"):
            log.info("removed what a killed process left", path=path.name)
            path.unlink()
        self._scan_record()
        for path in self.path.glob("*.index"):
            try:
                contents = read_index(path)
            except errors.DataLossError as error:
                log.error("unreadable index", path=str(path), reason=error.reason)  # noqa: TRY400
                of_copy = "" if path.stem.isdecimal() else path.stem
                self._damage[path.name] = Damage.of(error, of_copy)
                continue
            if path.stem.isdecimal():
                self._ranks[int(path.stem)] = [s for part in contents.values() for s in part]
            for (name, group), slices in contents.items():
                self._add(name, SliceFile(self.path / f"{name}.bin", group, slices))
        # Of a rank that was killed before its index was there, or whose index was lost.
        for path in self.path.glob("*.bin"):
            if path.stem not in self._pieces and self.recorded:
                what = Damage(
                    group="", reason="INDEX_DAMAGED", text=f"the index of {path.name} is not there"
                )
                self._damage[f"{path.stem}.index"] = what
        self.check()

    def _scan_record(self) -> None:
        try:
            record = self.read()
        except errors.DataLossError as error:
            log.error("unreadable manifest", path=str(self.path), reason=error.reason)  # noqa: TRY400
            self._damage[RECORD] = Damage.of(error)
            return
        if record is not None:
            self.recorded = True
            groups = {tensor.group for tensor in record.manifest.tensors}
            self._dropped_groups = frozenset(groups - {*record.manifest.version.groups})

    def _rewrite_record(self, groups: frozenset[str]) -> None:
        try:
            record = self.read()
        except errors.DataLossError:
            return  # Of what it said nothing can be read any more.
        if record is not None:
            self.record(record.without(groups))

    def _rewrite_indices(self, names: set[str]) -> None:
        """Take pieces out of them."""
        for path in self.path.glob("*.index"):
            try:
                contents = read_index(path)
            except errors.DataLossError:
                continue  # Of what it said nothing can be read any more.
            left = {key: slices for key, slices in contents.items() if key[0] not in names}
            if len(left) < len(contents):
                write_index(path, left)


def dropped(version: str, piece: str) -> errors.NotFoundError:
    """What is said of a piece that the shard was told to forget."""
    return errors.NotFoundError(
        f"{version} has no piece {piece} here any more: it was dropped; read a newer version",
        reason="PIECE_NOT_FOUND",
    )


def lost(version: str, piece: str) -> errors.DataLossError:
    """What is said of a piece that is not here, and that the shard was not told to forget."""
    return errors.DataLossError(
        f"{version} has no piece {piece} here, and nobody dropped it: if its manifest names it, the"
        " disk has lost it; read another version",
        reason="PIECE_LOST",
    )


def _land(piece: ArrivedPiece, folder: Path) -> None:
    piece.write()
    piece.move(folder / f"{piece.name}.bin")
