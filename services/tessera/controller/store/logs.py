"""Log files of attempts: `{folder}/{job}/{attempt}/{source}.log`, one line each, bounded."""

from __future__ import annotations

import re
import shutil
from collections import OrderedDict, deque
from collections.abc import Sequence
from pathlib import Path

from tessera import errors
from tessera.paths import below

CAP = 64 * 1024 * 1024
"""Bytes of one source; what comes later is dropped, and the file says so."""

ATTEMPT_CAP = 1024 * 1024 * 1024
"""Bytes of one attempt, over all its sources: 16 that are full."""

MAX_GAP = 1_000_000_000
"""Lines that a source may lose at once: nobody prints as many while a controller is away."""

MAX_LINE = 8192
"""Characters of a line, as in the .proto; what is longer is cut."""

PAGE = 512
"""Lines of one read."""

PAGE_BYTES = 1024 * 1024
"""Bytes after which a read ends: a page is one message."""

REMEMBERED = 4096
"""Sources, and attempts, whose lengths are kept in memory; others are counted again."""

_TRUNCATED = b"[this log is full; later lines are dropped]\n"
_LOST = re.compile(r"\[([0-9]{1,12}) lines? lost\]")


class Logs:
    """The log files below a folder. Blocking: call it from threads, one at a time for a source.

    Args:
        folder: of all of them.
        cap: bytes of one source.
        attempt_cap: bytes of one attempt.
    """

    def __init__(self, folder: Path, cap: int = CAP, attempt_cap: int = ATTEMPT_CAP) -> None:
        self._folder = folder
        self._cap = cap
        self._attempt_cap = attempt_cap
        self._counts: OrderedDict[Path, int] = OrderedDict()
        self._sizes: OrderedDict[Path, int] = OrderedDict()

    def path(self, job: str, attempt: int, source: str) -> Path:
        """Where a source's lines lie.

        Raises:
            InvalidArgumentError: a name is no part of a path (INVALID_NAME).
        """
        return below(self._folder, job, str(attempt), f"{source}.log")

    def append(
        self, job: str, attempt: int, source: str, first_line: int, lines: Sequence[str]
    ) -> int:
        """Add lines, numbered from `first_line`; those that are there are skipped.

        A gap is one line that says how many are lost, so numbers stay true. Returns how many lines
        the source has.

        Raises:
            InvalidArgumentError: the gap is longer than any can be (GAP_TOO_LARGE).
        """
        path = self.path(job, attempt, source)
        count = self._count(path)
        gap = first_line - 1 - count
        if gap > MAX_GAP:
            raise errors.InvalidArgumentError.at(
                "first_line", f"{source} has {count} lines; {gap} cannot be lost", "GAP_TOO_LARGE"
            )
        fresh = [_one_line(line) for line in lines[max(0, -gap) :]]
        if not fresh:
            return count
        marks = [f"[{gap} line{'s' * (gap > 1)} lost]"] if gap > 0 else []
        self._write(path, marks + fresh)
        return _remember(self._counts, path, count + max(0, gap) + len(fresh))

    def append_missing(self, job: str, attempt: int, source: str, text: str) -> None:
        """Add those lines of a text of another origin that the source does not hold yet."""
        path = self.path(job, attempt, source)
        count = self._count(path)
        known: set[str] = set()
        if path.exists():
            with path.open(encoding="utf-8", errors="replace") as file:
                known = {line.strip() for line in file}
        lines = [line for line in text.splitlines() if _one_line(line).strip() not in known]
        if lines:
            self._write(path, [_one_line(line) for line in lines])
            _remember(self._counts, path, count + len(lines))

    def drop(self, job: str) -> None:
        """Delete what is kept of a job; there may be nothing."""
        shutil.rmtree(below(self._folder, job), ignore_errors=True)

    def kept(self) -> list[str]:
        """The jobs of which there are logs."""
        if not self._folder.is_dir():
            return []
        return sorted(path.name for path in self._folder.iterdir() if path.is_dir())

    def sources(self, job: str, attempt: int) -> list[str]:
        """Sources of an attempt: the driver first, then ranks in their order."""
        folder = below(self._folder, job, str(attempt))
        names = [path.stem for path in folder.glob("*.log")] if folder.exists() else []
        return sorted(names, key=lambda name: (name != "driver", len(name), name))

    def read(self, job: str, attempt: int, source: str, offset: int) -> tuple[list[str], int]:
        """The next whole lines from a byte offset, and the offset after them."""
        path = self.path(job, attempt, source)
        if not path.exists():
            return [], offset
        lines: list[str] = []
        end = offset + PAGE_BYTES
        with path.open("rb") as file:
            file.seek(offset)
            while len(lines) < PAGE and offset < end:
                line = file.readline()
                if not line.endswith(b"\n"):
                    break
                lines.append(line[:-1].decode("utf-8", errors="replace"))
                offset += len(line)
        return lines, offset

    def tail_offset(self, job: str, attempt: int, source: str, tail: int) -> int:
        """The byte offset of the last `tail` lines; 0: of all."""
        path = self.path(job, attempt, source)
        if not tail or not path.exists():
            return 0
        starts: deque[int] = deque(maxlen=tail)
        with path.open("rb") as file:
            offset = 0
            for line in file:
                starts.append(offset)
                offset += len(line)
        return starts[0] if starts else 0

    def _write(self, path: Path, lines: Sequence[str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        clean = "".join(line + "\n" for line in lines).encode("utf-8", "replace")
        size = path.stat().st_size if path.exists() else 0
        held = self._size(path.parent)
        room = min(self._cap - size, self._attempt_cap - held)
        if room <= 0 or _is_full(path):
            return
        if len(clean) > room:
            whole = clean[:room].rfind(b"\n") + 1
            clean = clean[:whole] + _TRUNCATED
        with path.open("ab") as file:
            file.write(clean)
        _remember(self._sizes, path.parent, held + len(clean))

    def _size(self, folder: Path) -> int:
        """Bytes of an attempt."""
        if folder not in self._sizes:
            return _remember(self._sizes, folder, sum(p.stat().st_size for p in folder.iterdir()))
        return self._sizes[folder]

    def _count(self, path: Path) -> int:
        """Lines of a source, those that are lost among them."""
        if path not in self._counts:
            return _remember(self._counts, path, _counted(path) if path.exists() else 0)
        return self._counts[path]


def _remember(known: OrderedDict[Path, int], path: Path, value: int) -> int:
    known[path] = value
    known.move_to_end(path)
    while len(known) > REMEMBERED:
        known.popitem(last=False)
    return value


def _counted(path: Path) -> int:
    count = 0
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            lost = _LOST.fullmatch(line.rstrip("\n"))
            count += int(lost[1]) if lost else line.endswith("\n")
    return count


def _one_line(line: str) -> str:
    line = line.replace("\r", "\\r").replace("\n", "\\n")[:MAX_LINE]
    # What looks like our mark of a gap is not one.
    return f" {line}" if _LOST.fullmatch(line) else line


def _is_full(path: Path) -> bool:
    if not path.exists() or path.stat().st_size < len(_TRUNCATED):
        return False
    with path.open("rb") as file:
        file.seek(-len(_TRUNCATED), 2)
        return file.read() == _TRUNCATED
