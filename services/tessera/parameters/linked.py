"""A piece that is there already: slices of an earlier version that are the same in the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tessera.parameters.pending import PendingPiece
from tessera.parameters.slice_file import SliceFile
from tessera.parameters.slice_store import SliceStore
from tessera.parameters.vault import LinkedFile
from tessera.weights.box import Box
from tessera.weights.manifest import SliceSpec
from tessera.weights.reshape import View

Identity = tuple[int, Box, View, int, int]
"""Tensor in the list of its version, box, view, bytes and checksum of a slice."""


LEAST_SHARE = 0.5
"""Of a file that has to count to have another name: what does not count takes room all the same."""


class LinkedPiece:
    """Another name of an earlier piece's file, which stays when that version is dropped.

    Args:
        earlier: the piece.
        name: of this one.
        file: with the bytes of the earlier one's.
    """

    def __init__(self, earlier: SliceFile, name: str, file: LinkedFile) -> None:
        self._earlier = earlier
        self._file = file
        self.name = name
        self.group = earlier.group
        self.slices: list[SliceSpec] = []

    def take(self, source: SliceSpec, tensor: int) -> None:
        """Let a slice of the file count, as one of a tensor in the new version's list."""
        self.slices.append(replace(source, tensor=tensor, piece=self.name))

    @property
    def worth_it(self) -> bool:
        """Whether enough of the file counts.

        Raises:
            DataLossError: the file is gone, with the folder that it was for.
        """
        size = sum(source.size for source in self.slices)
        with self._earlier.opened(self._file) as file:
            return size >= LEAST_SHARE * file.size

    def copy(self, piece: PendingPiece) -> None:
        """Put what counts into a piece of its own, verified.

        Raises:
            DataLossError: the disk is damaged.
        """
        with self._earlier.opened(self._file) as file:
            for source in self.slices:
                start = piece.size
                for block in file.read(source, 0, source.size):
                    piece.append(block)
                piece.slices.append(replace(source, piece=piece.name, offset=start))

    def land(self) -> None:
        """Put its file in its place: its bytes are durable already."""
        self._file.commit()

    def discard(self) -> None:
        """Forget it, unless it has landed: then its file is the version's."""
        self._file.discard()


class EarlierVersion:
    """What can be taken over from a version that is here.

    Args:
        store: of the shard.
        set: that the version is of.
        number: of the version.
    """

    def __init__(self, store: SliceStore, set: str, number: int) -> None:  # noqa: A002 - what it is called
        folder = store.held(set).get((set, number))
        self._found: Mapping[Identity, tuple[SliceFile, SliceSpec]] = {}
        if folder is not None and folder.recorded:
            damaged = folder.damaged_files
            self._found = {
                (one.tensor, one.box, one.view, one.size, one.checksum): (piece, one)
                for piece in folder.pieces
                if piece.file_name not in damaged
                for one in piece.slices.values()
            }

    def find(self, identity: Identity) -> tuple[SliceFile, SliceSpec] | None:
        """The slice, and the piece that it lies in; None: it is not here, or may be damaged."""
        return self._found.get(identity)
