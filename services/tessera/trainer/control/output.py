"""What this process prints: by Python, by a library in C or by a process that it started.

All of it goes to the files that stand behind descriptors 1 and 2, so that is where it is read, once
whoever wrote it. Where no file stands behind one, as with a terminal or a pipe, one is put there.
"""

from __future__ import annotations

import codecs
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

PERIOD = 0.1
BLOCK = 1 << 20
MAX_LINE = 8_000
DESCRIPTORS = (1, 2)

_RAYS_OWN = (":job_id:", ":actor_name:", ":task_name:")
"""How lines begin by which Ray tells its readers whose the next ones are."""


class LineBuffer:
    """Cuts what is written into lines. Pure.

    Args:
        put: takes a line.
        mask: hides in a line what nobody may read.
    """

    def __init__(self, put: Callable[[str], None], mask: Callable[[str], str] = str) -> None:
        self._put = put
        self._mask = mask
        self._rest = ""

    def write(self, text: str) -> None:
        """Take text; whole lines are handed on."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if not line.startswith(_RAYS_OWN):
                # A progress bar rewrites its line; only its last state is worth keeping.
                self._put(self._mask(line.rstrip("\r").rsplit("\r", 1)[-1])[:MAX_LINE])

    def finish(self) -> None:
        """Take what was left without a line end."""
        if self._rest:
            self.write("\n")


class DescriptorReader:
    """What is written to one descriptor's file, from its present end on.

    Args:
        descriptor: that is written to.
        put: takes a line.
        mask: hides in a line what nobody may read, also from whoever reads what stands behind the
            descriptor; None: all of it may be read.
    """

    def __init__(
        self, descriptor: int, put: Callable[[str], None], mask: Callable[[str], str] | None = None
    ) -> None:
        self._descriptor = descriptor
        self._put = put
        self._masked = mask is not None
        self._before = _filed(descriptor) if self._masked or not _is_file(descriptor) else None
        self._file: BinaryIO = _path(descriptor).open("rb")
        self._file.seek(0, os.SEEK_END)
        self._lines = LineBuffer(self._take, mask or str)
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def read(self) -> int:
        """Take what has come; returns how many bytes."""
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)  # It was cut off.
        block = self._file.read(BLOCK)
        self._lines.write(self._decoder.decode(block))
        if not self._masked:
            self._hand_on(block)
        return len(block)

    def close(self) -> None:
        """Take the rest, and put back what stood behind the descriptor.

        Not where there is something to hide: what is printed from now on, nobody reads.
        """
        if self._before is not None and not self._masked:
            os.dup2(self._before, self._descriptor)
        while self.read():
            pass
        self._lines.finish()
        self._file.close()
        if self._before is not None:
            os.close(self._before)

    def _take(self, line: str) -> None:
        self._put(line)
        if self._masked:
            self._hand_on(f"{line}\n".encode("utf-8", "backslashreplace"))

    def _hand_on(self, block: bytes) -> None:
        """Write to what stood behind the descriptor before."""
        if self._before is not None:
            with suppress(OSError):
                os.write(self._before, block)


class PrintedOutput:
    """Reads what the process prints, on a thread of its own.

    Args:
        put: takes a line; called from that thread.
        mask: hides in a line what nobody may read, in files that are not ours too; None: all of it
            may be read.
    """

    def __init__(
        self, put: Callable[[str], None], mask: Callable[[str], str] | None = None
    ) -> None:
        self._put = put
        self._mask = mask
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._streams: list[DescriptorReader] = []

    def start(self) -> None:
        """Begin with what is printed from now on."""
        streams: list[Any] = [sys.stdout, sys.stderr]
        for stream in streams:
            with suppress(AttributeError):
                # Ray opens them anew, with nothing of what the environment asks for.
                stream.reconfigure(errors="backslashreplace", line_buffering=True)
        _flush()
        seen: set[tuple[int, int]] = set()
        for descriptor in DESCRIPTORS:
            behind = os.fstat(descriptor)
            known = (behind.st_dev, behind.st_ino) in seen and _is_file(descriptor)
            if self._mask is not None or not known:
                self._streams.append(DescriptorReader(descriptor, self._put, self._mask))
            seen.add((behind.st_dev, behind.st_ino))
        self._thread.start()

    def close(self) -> None:
        """Take everything that was printed, and end."""
        _flush()
        self._ended.set()
        self._thread.join()
        for stream in self._streams:
            stream.close()

    def _run(self) -> None:
        while not self._ended.wait(PERIOD):
            for stream in self._streams:
                while stream.read() == BLOCK:
                    pass


def _path(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}")


def _is_file(descriptor: int) -> bool:
    return _path(descriptor).is_file()


def _filed(descriptor: int) -> int:
    """Put a file behind a descriptor; returns one for what stood there before."""
    before = os.dup(descriptor)
    with tempfile.TemporaryFile("ab", buffering=0) as file:
        os.dup2(file.fileno(), descriptor)
    return before


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()
