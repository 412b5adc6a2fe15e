"""From the bytes of a file to text: decompressed, decoded, cut into lines."""

from __future__ import annotations

import bz2
import gzip
import lzma
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath

from tessera.data.arrow import arrow
from tessera.data.source import Source

UTF8_MARK = b"\xef\xbb\xbf"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")

PACKED: Mapping[str, bytes] = {
    ".gz": b"\x1f\x8b\x08",
    ".bz2": b"BZh",
    ".xz": b"\xfd7zXZ\0",
    ".zst": b"\x28\xb5\x2f\xfd",
}
"""Endings of compressed files, and what their bytes begin with."""

_KNOWN: Mapping[bytes, str] = {
    b"PK\x03\x04": "a zip archive, as spreadsheets are; unpack it, or save it as CSV",
    b"PAR1": "a Parquet file; set `data.format: parquet`",
    b"ARROW1": "an Arrow file; save it as Parquet",
    b"%PDF-": "a PDF; save its text",
    b"SQLite format 3\0": "a database; save its tables as CSV",
}
"""What files that are no text begin with, and what to do with them."""


def packing_of(name: str, content: bytes) -> str:
    """Ending of the compression of a file, by its name, else by what it begins with; or ""."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in PACKED:
        return suffix
    return next((suffix for suffix, mark in PACKED.items() if content.startswith(mark)), "")


def plain_bytes(source: Source) -> bytes:
    """The content of a file; what is compressed, decompressed.

    Raises:
        InvalidArgumentError: DATA_NOT_FOUND or DATA_UNREADABLE.
        FailedPreconditionError: PYARROW_NOT_INSTALLED.
    """
    content = source.read()
    packing = packing_of(source.name, content)
    if not packing:
        return content
    try:
        return _DECOMPRESS[packing](content)
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
        if PurePosixPath(source.name).suffix.lower() != packing:
            return content  # It only begins as if it were compressed.
        raise source.unreadable(f"cannot be decompressed: {error}") from None


def plain_text(source: Source) -> str:
    """The content of a UTF-8 file, without a byte order mark; "" for what is optional and no text.

    Raises:
        InvalidArgumentError: DATA_NOT_FOUND, DATA_UNREADABLE or DATA_NOT_TEXT.
    """
    content = plain_bytes(source).removeprefix(UTF8_MARK)
    try:
        return decoded(content)
    except UnicodeError as error:
        if source.optional:
            warnings.warn(f"{source.url} is left out: {error}", stacklevel=2)
            return ""
        raise source.wrong(f"{source.name}:{error}", "DATA_NOT_TEXT") from None


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbers from 1 and lines, which end with a line feed, or with one after a return."""
    found = text.split("\n")
    if not found[-1]:
        del found[-1]
    for index, line in enumerate(found):
        yield index + 1, line.removesuffix("\r")


def decoded(content: bytes) -> str:
    """UTF-8 as text.

    Raises:
        UnicodeError: it is none; says the line, what stands there and what to do.
    """
    if content.startswith(UTF16_MARKS):
        raise UnicodeError("1: the file is UTF-16; save it as UTF-8, e.g. iconv -f utf-16 -t utf-8")
    for mark, what in _KNOWN.items():
        if content.startswith(mark):
            raise UnicodeError(f"1: the file is {what}")
    if b"\0" in content:
        at = content.index(0)
        raise UnicodeError(
            f"{_line(content, at)}: byte {at} is zero, which no text has; take it out, or save the "
            "file as UTF-8"
        )
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        at = error.start
        raise UnicodeError(
            f"{_line(content, at)}: byte {at} (0x{content[at]:02x}) is not UTF-8; take it out, or "
            "save it as UTF-8, e.g. iconv -f latin1 -t utf-8 for Western European text"
        ) from None


def _line(content: bytes, at: int) -> int:
    return content.count(b"\n", 0, at) + 1


def _zstd(content: bytes) -> bytes:
    pa = arrow("zstd")
    with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
        return bytes(stream.read())


_DECOMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
    ".zst": _zstd,
}
