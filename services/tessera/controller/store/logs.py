"""Log files of attempts: `{folder}/{job}/{attempt}/{source}.log`, one line each, bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

CAP = 64 * 1024 * 1024
"""Bytes of one source; what comes later is dropped, and the file says so."""

PAGE = 512
"""Lines of one read."""

_TRUNCATED = b"[this log is full; later lines are dropped]\n"


class Logs:
    """The log files below a folder. Blocking: call it from threads, one at a time for a source."""

    def __init__(self, folder: Path, cap: int = CAP) -> None:
        self._folder = folder
        self._cap = cap
        self._counts: dict[Path, int] = {}

    def path(self, job: str, attempt: int, source: str) -> Path:
        """Where a source's lines lie."""
        return self._folder / job / str(attempt) / f"{source}.log"

    def append(
        self, job: str, attempt: int, source: str, first_line: int, lines: Sequence[str]
    ) -> int:
        """Add lines, numbered from `first_line`; those that are there are skipped.

        A gap is marked in the file, so numbers stay true. Returns how many lines the source has.
        """
        path = self.path(job, attempt, source)
        count = self._count(path)
        gap = first_line - 1 - count
        fresh = list(lines[max(0, -gap) :])
        if gap > 0:
            fresh = ["[lost]"] * gap + fresh
        if not fresh:
            return count
        self._write(path, fresh)
        self._counts[path] = count + len(fresh)
        return self._counts[path]

    def append_missing(self, job: str, attempt: int, source: str, text: str) -> None:
        """Add those lines of a text of another origin that the source does not hold yet."""
        path = self.path(job, attempt, source)
        count = self._count(path)
        known: set[str] = set()
        if path.exists():
            with path.open(encoding="utf-8", errors="replace") as file:
                known = {line.rstrip() for line in file}
        lines = [line for line in text.splitlines() if _one_line(line).rstrip() not in known]
        if lines:
            self._write(path, lines)
            self._counts[path] = count + len(lines)

    def sources(self, job: str, attempt: int) -> list[str]:
        """Sources of an attempt: the driver first, then ranks in their order."""
        folder = self._folder / job / str(attempt)
        names = [path.stem for path in folder.glob("*.log")] if folder.exists() else []
        return sorted(names, key=lambda name: (name != "driver", len(name), name))

    def read(self, job: str, attempt: int, source: str, offset: int) -> tuple[list[str], int]:
        """The next whole lines from a byte offset, and the offset after them."""
        path = self.path(job, attempt, source)
        if not path.exists():
            return [], offset
        lines: list[str] = []
        with path.open("rb") as file:
            file.seek(offset)
            while len(lines) < PAGE:
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
        clean = "".join(_one_line(line) + "\n" for line in lines).encode("utf-8", "replace")
        size = path.stat().st_size if path.exists() else 0
        if size >= self._cap or _is_full(path):
            return
        if size + len(clean) > self._cap:
            whole = clean[: max(0, self._cap - size)].rfind(b"\n") + 1
            clean = clean[:whole] + _TRUNCATED
        with path.open("ab") as file:
            file.write(clean)

    def _count(self, path: Path) -> int:
        if path not in self._counts:
            if path.exists():
                with path.open("rb") as file:
                    self._counts[path] = sum(
                        block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")
                    )
            else:
                self._counts[path] = 0
        return self._counts[path]


def _one_line(line: str) -> str:
    return line.replace("\r", "\\r").replace("\n", "\\n")


def _is_full(path: Path) -> bool:
    if not path.exists() or path.stat().st_size < len(_TRUNCATED):
        return False
    with path.open("rb") as file:
        file.seek(-len(_TRUNCATED), 2)
        return file.read() == _TRUNCATED
