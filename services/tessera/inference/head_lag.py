"""How far what is served is behind the head of its set. Pure."""

from __future__ import annotations


class HeadLag:
    """Counts the moves of a head, commits and rollbacks, since what is served was the head.

    Moves have numbers that grow; not all of them need be heard of.
    """

    def __init__(self) -> None:
        self._head = self._move = 0
        self._served = self._served_move = 0

    @property
    def move(self) -> int:
        """The last one that was heard of; 0 if none was."""
        return self._move

    @property
    def lag(self) -> int:
        """In moves; 0 while nothing is served, or nothing was heard."""
        return self._move - self._served_move if self._served else 0

    def heard(self, version: int, move: int) -> None:
        """A version has become the head."""
        self._head, self._move = version, move
        self._agree()

    def serves(self, version: int, move: int) -> None:
        """A version is served from now on, which a move had made the head."""
        self._served, self._served_move = version, move
        self._agree()

    def _agree(self) -> None:
        # A rollback may have made what is served the head again.
        if self._served == self._head:
            self._served_move = self._move
