"""From the bytes of a file to text: decompressed, decoded, cut into lines."""

from __future__ import annotations

import bz2
import gzip
import lzma
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath

from tessera.trainer.data.sources import Source
from tessera.trainer.failure import UserError

_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def plain_bytes(source: Source) -> bytes:
    """The content of a file; what its extension says is compressed, decompressed.

    Raises:
        UserError: DATA_NOT_FOUND or DATA_UNREADABLE.
    """
    content = source.read()
    decompress = _DECOMPRESS.get(PurePosixPath(source.name).suffix.lower())
    if decompress is None:
        return content
    try:
        return decompress(content)
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
        raise source.unreadable(f"cannot be decompressed: {error}") from None


def plain_text(source: Source) -> str:
    """The content of a UTF-8 file, without a byte order mark; "" for what is optional and no text.

    Raises:
        UserError: DATA_NOT_FOUND, DATA_UNREADABLE or DATA_NOT_TEXT.
    """
    content = plain_bytes(source).removeprefix(_UTF8_MARK)
    try:
        return _decoded(content)
    except UnicodeError as error:
        if source.optional:
            warnings.warn(f"{source.url} is left out: {error}", stacklevel=2)
            return ""
        description = f"{source.name}:{error}; take it out, or save it as UTF-8"
        raise UserError.at(source.field, description, "DATA_NOT_TEXT") from None


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbers from 1 and lines, which end with a line feed, or with one after a return."""
    found = text.split("\n")
    if not found[-1]:
        del found[-1]
    for index, line in enumerate(found):
        yield index + 1, line.removesuffix("\r")


def _decoded(content: bytes) -> str:
    if content.startswith(_UTF16_MARKS):
        raise UnicodeError("1: the file is UTF-16")
    if b"\0" in content:
        at = content.index(0)
        raise UnicodeError(f"{_line(content, at)}: byte {at} is zero, which no text has")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        at = error.start
        raise UnicodeError(
            f"{_line(content, at)}: byte {at} (0x{content[at]:02x}) is not UTF-8"
        ) from None


def _line(content: bytes, at: int) -> int:
    return content.count(b"\n", 0, at) + 1


def _zstd(content: bytes) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 - slow to import

    with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
        return bytes(stream.read())


_DECOMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
    ".zst": _zstd,
}
