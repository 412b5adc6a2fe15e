"""The files of one version in a shard's vault; what they say is all that a restarted shard knows.

`{piece}.bin` holds bytes, `{rank}.index` says what lies in the rank's pieces, `{piece}.index` what
lies in a copy of another shard's piece, `manifest` that the version is committed. Bytes are synced
and put in their place; the index comes last, the same way. So a rank's slices are all there, or (if
the process dies before) none. Nothing is ever deleted because of what the files say: what is
damaged stays, costs no other version anything, and is said to be damaged, until a copy takes its
place.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Executor, wait
from contextlib import suppress

import structlog

from tessera import errors
from tessera.parameters.damage import Damage
from tessera.parameters.index_file import read_index, write_index
from tessera.parameters.pending import ArrivedPiece
from tessera.parameters.slice_file import SliceFile, file_of
from tessera.parameters.vault import NewFile, Vault
from tessera.parameters.version_record import NAME as RECORD
from tessera.parameters.version_record import VersionRecord, read_record, write_record
from tessera.weights.manifest import SliceSpec

log = structlog.get_logger()

_SEEN = ("PIECE_LOST", "SHORT_FILE")
"""Damage that a look at the folder finds."""


class VersionFolder:
    """What a shard has of a version: nothing yet, until `scan` or `persist`.

    Args:
        vault: of the shard.
        path: of the folder in it; it need not exist.
    """

    def __init__(self, vault: Vault, path: str) -> None:
        self._vault = vault
        self._path = path
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
        name, _, number = self._path.rpartition("/")
        return f"{name}@{number}"

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
        self._vault.make_folder(self._path)
        landing = [writers.submit(piece.land) for piece in pieces]
        # All of them have ended before anything is said of one: whoever gives up removes files.
        wait(landing)
        try:
            for landed in landing:
                landed.result()
            contents = {(piece.name, piece.group): piece.slices for piece in pieces}
            write_index(self._vault, self._file(f"{rank}.index"), contents)
        except BaseException:
            for piece in pieces:
                self._vault.remove(self._file(file_of(piece.name)))
            raise
        with self._lock:
            self._ranks[rank] = [source for piece in pieces for source in piece.slices]
            for piece in pieces:
                self._add(self._piece(piece.name, piece.group, piece.slices))

    def take_copy(self, name: str, group: str, slices: Sequence[SliceSpec], file: NewFile) -> None:
        """Let a file that is synced be a piece, in place of one that may be damaged."""
        self._vault.make_folder(self._path)
        file.commit()
        # Of its own: the rank's, if there is one, names what was pushed here.
        write_index(self._vault, self._file(f"{name}.index"), {(name, group): slices})
        with self._lock:
            self._pieces[name] = self._piece(name, group, slices)
            self._damage.pop(file_of(name), None)
            self._damage.pop(f"{name}.index", None)

    def supersede(self) -> None:
        """All that should be here is: indices that cannot be read, and files of none, are put away.

        They stay in the folder, under names that nothing is looked for by.
        """
        with self._lock:
            known = {piece.file_name for piece in self._pieces.values()}
            damaged = [name for name in self._damage if name.endswith(".index")]
            for name in damaged:
                del self._damage[name]
        for name in [*damaged, *({*self._files(".bin")} - known)]:
            with suppress(FileNotFoundError):  # An index may be damaged in that it is not there.
                self._vault.rename(self._file(name), self._file(f"{name}.stray"))

    def has(self, name: str) -> bool:
        """Whether an index names a piece."""
        with self._lock:
            return name in self._pieces

    def same(self, wanted: Collection[tuple[int, int, int, tuple[int, ...]]]) -> SliceFile | None:
        """A sound piece in which slices lie: offset, size, checksum and blocks."""
        if not self.recorded:
            return None
        damaged = self.damaged_files
        for piece in self.pieces:
            has = {(s.offset, s.size, s.checksum, s.blocks) for s in piece.slices.values()}
            if piece.file_name not in damaged and has.issuperset(wanted):
                return piece
        return None

    def record(self, record: VersionRecord) -> None:
        """Keep what makes it a committed version."""
        self._vault.make_folder(self._path)
        write_record(self._vault, self._path, record)
        with self._lock:
            self.recorded = True
            self._damage.pop(RECORD, None)

    def read(self) -> VersionRecord | None:
        """What makes it a committed version; None if it is none.

        Raises:
            DataLossError: that is damaged (MANIFEST_DAMAGED).
        """
        return read_record(self._vault, self._path)

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
                self._size -= self._pieces.pop(piece.name).size
                self._damage.pop(piece.file_name, None)
            self._dropped_groups |= groups
        # What says that they are here goes first: what was dropped must not be missed.
        self._rewrite_record(groups)
        self._rewrite_indices({piece.name for piece in gone})
        for piece in gone:
            self._vault.remove(piece.file)
        return sum(piece.size for piece in gone)

    def remove(self) -> int:
        """Delete all of it; returns the bytes freed."""
        size = self.size
        for name in [RECORD, *self._files(".index")]:
            self._vault.remove(self._file(name))
        self._vault.remove_folder(self._path)
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
            if piece.name in self._pieces:
                self._damage[piece.file_name] = Damage.of(error, piece.name)

    def _mend(self, piece: SliceFile, reasons: Collection[str] = ()) -> None:
        """A piece is whole again, as far as damage of these reasons goes (none: any)."""
        with self._lock:
            known = self._damage.get(piece.file_name)
            if known is not None and (not reasons or known.reason in reasons):
                del self._damage[piece.file_name]

    def _file(self, name: str) -> str:
        """The name in the vault of a file of the folder."""
        return f"{self._path}/{name}"

    def _files(self, ending: str) -> list[str]:
        """Names of the files in the folder that end like that."""
        return [name for name in self._vault.files(self._path) if name.endswith(ending)]

    def _piece(self, name: str, group: str, slices: Sequence[SliceSpec]) -> SliceFile:
        return SliceFile(self._vault, self._path, name, group, slices)

    def _add(self, piece: SliceFile) -> None:
        # Counted as they come and go: a shard is asked again and again how much it has.
        self._size += piece.size
        self._pieces[piece.name] = piece

    @staticmethod
    def scan(vault: Vault, path: str) -> VersionFolder:
        """What the files say that there is, after a start: nothing is being written."""
        found = VersionFolder(vault, path)
        found._scan()
        return found

    def _scan(self) -> None:
        self._scan_record()
        for index in self._files(".index"):
            self._scan_index(index)
        # Of a rank that was killed before its index was there, or whose index was lost.
        for file in self._files(".bin"):
            name = file.removesuffix(".bin")
            if name not in self._pieces and self.recorded:
                what = Damage(
                    group="", reason="INDEX_DAMAGED", text=f"the index of {file} is not there"
                )
                self._damage[f"{name}.index"] = what
        self.check()

    def _scan_index(self, index: str) -> None:
        path, of = self._file(index), index.removesuffix(".index")
        try:
            contents = read_index(self._vault, path)
        except errors.DataLossError as error:
            log.error("unreadable index", path=path, reason=error.reason)  # noqa: TRY400
            self._damage[index] = Damage.of(error, "" if of.isdecimal() else of)
            return
        if of.isdecimal():
            self._ranks[int(of)] = [s for part in contents.values() for s in part]
        for (name, group), slices in contents.items():
            self._add(self._piece(name, group, slices))

    def _scan_record(self) -> None:
        try:
            record = self.read()
        except errors.DataLossError as error:
            log.error("unreadable manifest", path=self._path, reason=error.reason)  # noqa: TRY400
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
        for index in map(self._file, self._files(".index")):
            try:
                contents = read_index(self._vault, index)
            except errors.DataLossError:
                continue  # Of what it said nothing can be read any more.
            left = {key: slices for key, slices in contents.items() if key[0] not in names}
            if len(left) < len(contents):
                write_index(self._vault, index, left)


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
