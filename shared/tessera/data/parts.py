"""The files that a spec names, for training and held out, opened as their format says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tessera import errors
from tessera.data.files import Opened, opened, opened_pair
from tessera.data.settings import DataSettings
from tessera.data.source import Source
from tessera.data.split import hash_fraction

_UPLOADS = "blob://"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is trained on, or what is held out.

    Args:
        field: of the spec: data.files or data.validation_files.
        files: URLs, or paths.
        target_field: of the spec.
        target_files: those of translations.
    """

    field: str
    files: tuple[str, ...]
    target_field: str
    target_files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where files lie: on the workers' side all that a URL may name, on the client's its disk.

    Args:
        expand: the files that URLs or paths and patterns name, and the field that names them.
        data_set: a data set by its URL, the columns wanted of it, and the field that names it.
    """

    expand: Callable[[Sequence[str], str], list[Source]]
    data_set: Callable[[str, Sequence[str], str], Opened]


def train_part(data: DataSettings) -> Part:
    """The files that are trained on."""
    return Part(
        field="data.files",
        files=data.files,
        target_field="data.target_files",
        target_files=data.target_files,
    )


def validation_part(data: DataSettings) -> Part:
    """The files that are held out."""
    return Part(
        field="data.validation_files",
        files=data.validation_files,
        target_field="data.validation_target_files",
        target_files=data.validation_target_files,
    )


def open_part(
    data: DataSettings, part: Part, wanted: Sequence[str], storage: Storage
) -> list[Opened]:
    """The files of a part, read as they are asked for.

    If not all may be read, files come in an order that their names draw.

    Args:
        data: says how to read them.
        part: names them.
        wanted: columns that have to be read.
        storage: has them.

    Raises:
        InvalidArgumentError: whatever is wrong with their names.
    """
    files = list(_opened(data, part, wanted, storage))
    if data.max_bytes:
        files.sort(key=lambda file: hash_fraction(f"order:{file.name}"))
    return files


def sources_of(part: Part, storage: Storage) -> list[Source]:
    """The files of a part that belong to no others.

    Raises:
        InvalidArgumentError: FILE_NAMED_TWICE, or whatever is wrong with their names.
    """
    sources = storage.expand(part.files, part.field)
    seen: set[str] = set()
    for source in sources:
        # Uploads of one name and content may come from several folders.
        if source.url in seen and not source.url.startswith(_UPLOADS):
            description = f"{source.url} is named twice; name each file once"
            raise source.wrong(description, "FILE_NAMED_TWICE")
        seen.add(source.url)
    return sources


def _opened(
    data: DataSettings, part: Part, wanted: Sequence[str], storage: Storage
) -> Iterator[Opened]:
    if data.format == "dataset":
        yield from (storage.data_set(url, wanted, part.field) for url in part.files)
    elif data.format == "parallel":
        yield from (opened_pair(*pair) for pair in _pairs(part, storage))
    else:
        yield from (opened(data, source, wanted) for source in sources_of(part, storage))


def _pairs(part: Part, storage: Storage) -> Iterator[tuple[Source, Source]]:
    sources = storage.expand(part.files, part.field)
    targets = storage.expand(part.target_files, part.target_field)
    if len(sources) != len(targets):
        description = (
            f"there are {len(targets)} files here, but {len(sources)} in `{part.field}`; "
            "name one for each, in the same order"
        )
        raise errors.InvalidArgumentError.at(part.target_field, description, "DATA_NOT_PARALLEL")
    return zip(sources, targets, strict=True)
