"""Where the training text comes from: uploads, the standard library, and whatever fsspec opens."""

from __future__ import annotations

import sysconfig
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import fsspec

from tessera import errors
from tessera.trainer.failure import UserError
from tessera.trainer.split import Text, lot

ReadBlob = Callable[[str], bytes]
"""Content of an uploaded file by its sha256."""

Source = tuple[str, str, Callable[[], bytes]]
"""Name, URL for people, and how to read it."""

_NOT_LIBRARY = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}


def fetch(files: Sequence[str], max_bytes: int, read_blob: ReadBlob) -> list[Text]:
    """The texts that a spec names, sorted by name.

    Args:
        files: URLs of the resolved spec.
        max_bytes: read at most so many, from files in an order that their names draw; 0: all.
        read_blob: reads an upload.

    Raises:
        UserError: DATA_NOT_FOUND, DATA_NOT_TEXT or DATA_EMPTY.
    """
    found = [source for url in files for source in _expand(url, read_blob)]
    if max_bytes:
        found.sort(key=lambda source: lot(f"order:{source[0]}"))
    texts: list[Text] = []
    left = max_bytes or None
    for name, url, read in found:
        content = _read(url, read)
        if left is not None and len(content) > left:
            content = content[:left].decode(errors="ignore").encode()
        text = _decode(url, content)
        if text:
            texts.append(Text(name=name, content=text))
        if left is not None:
            left -= len(content)
            if left <= 0:
                break
    if not any(text.content.strip() for text in texts):
        raise _bad("DATA_EMPTY", f"there is no text in {', '.join(files)}")
    return sorted(texts, key=lambda text: text.name)


def read_one(url: str, read_blob: ReadBlob) -> bytes:
    """The content of the one file that a URL names.

    Raises:
        UserError: DATA_NOT_FOUND.
    """
    _, shown, read = next(iter(_expand(url, read_blob)))
    return _read(shown, read)


def _read(url: str, read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except (FileNotFoundError, errors.NotFoundError) as error:
        raise _bad("DATA_NOT_FOUND", f"{url} is not there any more: {error}") from None


def _decode(url: str, content: bytes) -> str:
    if b"\0" not in content:
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            where = f"byte {error.start} is not UTF-8"
    else:
        where = f"byte {content.index(0)} is zero"
    if url.startswith("stdlib://"):
        warnings.warn(f"{url} is left out: {where}", stacklevel=2)
        return ""
    raise _bad("DATA_NOT_TEXT", f"{url} is not text: {where}")


def _expand(url: str, read_blob: ReadBlob) -> Iterator[Source]:
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "blob":
        digest, _, name = rest.partition("/")
        yield name, url, lambda: read_blob(digest)
    elif separator and scheme == "stdlib":
        yield from _standard_library(rest)
    else:
        yield from _remote(url)


def _standard_library(pattern: str) -> Iterator[Source]:
    root = Path(sysconfig.get_path("stdlib"))
    count = 0
    for path in sorted(root.glob(pattern)):
        relative = path.relative_to(root)
        if path.is_file() and not _NOT_LIBRARY.intersection(relative.parts):
            count += 1
            yield relative.as_posix(), f"stdlib://{relative.as_posix()}", path.read_bytes
    if not count:
        raise _bad("DATA_NOT_FOUND", f"stdlib://{pattern} matches no file")


def _remote(url: str) -> Iterator[Source]:
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
        paths = sorted(_listed(filesystem, path))
    except FileNotFoundError:
        paths = []
    except (ValueError, ImportError) as error:
        raise _bad("DATA_UNREADABLE", f"{url} cannot be opened: {error}") from None
    if not paths:
        raise _bad("DATA_NOT_FOUND", f"{url} matches no file")
    base = _literal_folder(path) if len(paths) > 1 else str(PurePosixPath(paths[0]).parent)
    for found in paths:
        name = found.removeprefix(base).lstrip("/")
        shown = filesystem.unstrip_protocol(found)
        yield name, shown, partial(filesystem.cat_file, found)


def _listed(filesystem: fsspec.AbstractFileSystem, path: str) -> list[str]:
    if any(character in path for character in "*?["):
        return [found for found in filesystem.glob(path) if filesystem.isfile(found)]
    if filesystem.isdir(path):
        return list(filesystem.find(path))
    return [path] if filesystem.exists(path) else []


def _literal_folder(pattern: str) -> str:
    parts = PurePosixPath(pattern).parts
    literal: list[str] = []
    for part in parts:
        if any(character in part for character in "*?["):
            break
        literal.append(part)
    return str(PurePosixPath(*literal)) if literal else ""


def _bad(reason: str, description: str) -> UserError:
    return UserError(
        f"data.files: {description}",
        reason=reason,
        violations=[errors.Violation("data.files", description)],
    )
