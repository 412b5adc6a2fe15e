"""Where files come from: uploads, the standard library, and whatever fsspec opens."""

from __future__ import annotations

import sysconfig
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

import fsspec
import fsspec.config

from tessera.data.source import Source, unreachable
from tessera.spec.urls import BLOB, STDLIB, split_url
from tessera.trainer.failure import UserError

ReadBlob = Callable[[str], bytes]
"""Content of an uploaded file by its sha256."""

FILES = "data.files"

# The one library that has to be told: others ask the environment's proxies by themselves.
for _protocol in ("http", "https"):
    _settings = fsspec.config.conf.setdefault(_protocol, {})
    _settings["client_kwargs"] = {"trust_env": True, **_settings.get("client_kwargs", {})}

_NOT_LIBRARY = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}


def expand(urls: Sequence[str], read_blob: ReadBlob, field: str = FILES) -> list[Source]:
    """The files that URLs and patterns name: those of a pattern sorted, patterns as given.

    Files of one name from several places are named by their URLs.

    Args:
        urls: of the resolved spec.
        read_blob: reads an upload.
        field: of the spec, which names them.

    Raises:
        UserError: DATA_NOT_FOUND or DATA_UNREADABLE.
        UnavailableError: DATA_UNREACHABLE.
    """
    found = [source for url in urls for source in _expand(url, read_blob, field)]
    names = Counter(source.name for source in found)
    return [
        source if names[source.name] == 1 else replace(source, name=source.url) for source in found
    ]


def read_one(url: str, read_blob: ReadBlob, field: str = FILES) -> bytes:
    """The content of the one file that a URL names.

    Raises:
        UserError: DATA_NOT_FOUND or DATA_UNREADABLE.
        UnavailableError: DATA_UNREACHABLE.
    """
    return next(_expand(url, read_blob, field)).read()


def _expand(url: str, read_blob: ReadBlob, field: str) -> Iterator[Source]:
    scheme, rest = split_url(url)
    if scheme == BLOB:
        digest, _, name = rest.partition("/")
        yield Source(name=name, url=url, field=field, open=partial(read_blob, digest))
    elif scheme == STDLIB:
        yield from _standard_library(rest, field)
    else:
        yield from _remote(url, field)


def _standard_library(pattern: str, field: str) -> Iterator[Source]:
    root = Path(sysconfig.get_path("stdlib"))
    count = 0
    for path in sorted(root.glob(pattern)):
        relative = path.relative_to(root)
        if path.is_file() and not _NOT_LIBRARY.intersection(relative.parts):
            count += 1
            name = relative.as_posix()
            yield Source(
                name=name, url=f"stdlib://{name}", field=field, open=path.read_bytes, optional=True
            )
    if not count:
        raise UserError.at(field, f"stdlib://{pattern} matches no file", "DATA_NOT_FOUND")


def _remote(url: str, field: str) -> Iterator[Source]:
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
        paths = sorted(_listed(filesystem, path))
    except FileNotFoundError:
        paths = []
    except (ValueError, ImportError) as error:
        raise UserError.at(field, f"{url} cannot be opened: {error}", "DATA_UNREADABLE") from None
    except PermissionError as error:
        raise UserError.at(field, f"{url} may not be read: {error}", "DATA_UNREADABLE") from None
    except Exception as error:  # noqa: BLE001 - every kind of storage has its own
        raise unreachable(url, field, error) from None
    if not paths:
        raise UserError.at(field, f"{url} matches no file", "DATA_NOT_FOUND")
    base = _literal_folder(path) if len(paths) > 1 else str(PurePosixPath(paths[0]).parent)
    for found in paths:
        yield Source(
            name=found.removeprefix(base).lstrip("/"),
            url=filesystem.unstrip_protocol(found),
            field=field,
            open=partial(filesystem.cat_file, found),
        )


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
