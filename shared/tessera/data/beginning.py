"""The beginning of a file of this machine, unpacked: enough to see what it is."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tessera.data.arrow import arrow
from tessera.data.content import packing_of
from tessera.data.source import Source

_MARK = 16
"""Bytes that tell how a file is compressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What a file begins with.

    Args:
        content: unpacked; whole lines, if it is not all.
        whole: whether it is all.
        packing: ending of the compression; empty: none.
    """

    content: bytes
    whole: bool
    packing: str


def beginning(source: Source, path: Path, limit: int) -> Beginning:
    """At most so many bytes of a file, unpacked.

    Args:
        source: the file, for errors.
        path: the same.
        limit: bytes.

    Raises:
        InvalidArgumentError: DATA_UNREADABLE.
        FailedPreconditionError: PYARROW_NOT_INSTALLED.
    """
    try:
        with path.open("rb") as stream:
            packing = packing_of(path.name, stream.read(_MARK))
        with _opened(path, packing) as stream:
            content = bytes(stream.read(limit + 1))
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
        raise source.unreadable(f"cannot be read: {error}") from None
    if len(content) <= limit:
        return Beginning(content=content, whole=True, packing=packing)
    end = content.rfind(b"\n", 0, limit) + 1 or limit
    return Beginning(content=content[:end], whole=False, packing=packing)


def _opened(path: Path, packing: str) -> Any:
    if packing == ".zst":
        return arrow("zstd").input_stream(str(path), compression="zstd")
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    return openers.get(packing, open)(path, "rb")
