"""The local data of a spec, read before anything is sent, by the code that will read it there."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from tessera import errors
from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.client.local_files import expand
from tessera.data.beginning import beginning
from tessera.data.checks import (
    answer_begin,
    check_answers,
    check_one_class,
    check_regression,
    check_scores,
)
from tessera.data.content import packing_of, plain_text
from tessera.data.extract import CLASSES
from tessera.data.files import Opened, opened
from tessera.data.labels import find_classes, label_ids
from tessera.data.parts import Storage, train_part, validation_part
from tessera.data.reading import extractor, read, read_part, records
from tessera.data.record import Record, Roles
from tessera.data.rows import Row
from tessera.data.settings import DELIMITED, DataSettings
from tessera.data.sniff import sniff
from tessera.data.source import Source
from tessera.data.texts import read_texts
from tessera.models.tasks import EMBEDDING, JOINT, QUESTION_ANSWERING, REGRESSION, TASKS
from tessera.spec.roles import reads_pairs, roles_of
from tessera.spec.settings import data_settings
from tessera.spec.urls import DATA_FILES, split_url

MAX_BYTES = 32 << 20
"""Of more data than that only the beginning of each file is read: a submit should not wait."""

_PAIRS = (("files", "target_files"), ("validation_files", "validation_target_files"))
_BEGINNING = 1 << 20
_ROWS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the local data of a spec holds.

    Args:
        examples: records, or files of text; 0: not all of it was read.
        trained: those of the examples that are not held out.
        classes: how many examples are of each, by name, in the order of their numbers.
        skipped: why not all of it was read; empty: it was.
        notes: what may be meant otherwise.
    """

    examples: int = 0
    trained: int = 0
    classes: Mapping[str, int] = field(default_factory=dict)
    skipped: str = ""
    notes: tuple[str, ...] = ()


def check_data(spec: JobSpec, folder: Path) -> Checked:
    """Read the local files of a spec as a worker would.

    Args:
        spec: resolved, but with paths as they were written.
        folder: that relative paths start from.

    Raises:
        InvalidArgumentError: FILE_NAMED_TWICE; or whatever a worker would fail with.
    """
    paths = {name: _paths(spec, name, folder) for name in DATA_FILES}
    _check_once(paths)
    local = [path for named in paths.values() for _, path in named]
    if not local:
        return Checked(skipped="only the workers can read it")
    whole = all(not split_url(url)[0] for name in DATA_FILES for url in getattr(spec.data, name))
    data = _local(data_settings(spec.data))
    try:
        if sum(path.stat().st_size for path in local) > MAX_BYTES:
            _check_beginnings(spec, data, [*paths["files"], *paths["validation_files"]])
            size = f"{MAX_BYTES >> 20} MiB"
            return Checked(skipped=f"it is larger than {size}: only its beginning was read")
        storage = Storage(expand=_expand(folder), data_set=_no_data_set)
        return (_check_whole if whole else _check_parts)(spec, data, storage)
    except errors.FailedPreconditionError as error:
        return Checked(skipped=error.message)


def _check_beginnings(spec: JobSpec, data: DataSettings, paths: Sequence[tuple[str, Path]]) -> None:
    """The first rows of files that are too large to be read here."""
    if data.format in {"text", "parallel", "parquet", "dataset"}:
        return
    for place, path in paths:
        whole = Source(name=path.name, url=str(path), field=place, open=path.read_bytes)
        content = beginning(whole, path, _BEGINNING).content
        if content.lstrip().startswith(b"["):
            continue  # One array of JSON cannot be read in part.
        name = path.stem if packing_of(path.name, b"") else path.name
        source = replace(whole, name=name, open=partial(bytes, content))
        take = extractor(data, _roles(spec, data))
        file = opened(data, source, take.wanted)
        records(data, take, [replace(file, rows=_first(file.rows))])


def _first(rows: Iterator[Row]) -> Iterator[Row]:
    """The first rows; the last one of a beginning may well be broken."""
    seen = 0
    try:
        for row in itertools.islice(rows, _ROWS):
            yield row
            seen += 1
    except errors.InvalidArgumentError as error:
        if error.reason != "DATA_BROKEN_LINE" or not seen:
            raise


def _roles(spec: JobSpec, data: DataSettings) -> Roles:
    kind = spec.task.kind
    pairs = kind == JOINT and reads_pairs(data.format, data.columns)
    return roles_of(kind, multi_label=spec.task.multi_label, pairs=pairs)


def _check_whole(spec: JobSpec, data: DataSettings, storage: Storage) -> Checked:
    if data.format == "text":
        texts = [text.name for part in read_texts(data, storage) for text in part]
        return Checked(examples=len(set(texts)))
    kind = spec.task.kind
    found, held_out = read(data, _roles(spec, data), storage)
    every = [*found, *held_out]
    if kind == QUESTION_ANSWERING:
        check_answers(found)
        for record in every:
            answer_begin(record)
    if kind == EMBEDDING:
        check_scores(every)
    if kind == REGRESSION:
        check_regression(every)
    counts = _check_classes(spec, found if data.validation_files else every, every)
    return Checked(
        examples=len(every),
        trained=len(found),
        classes=counts,
        notes=tuple(_headers(data, storage)),
    )


def _headers(data: DataSettings, storage: Storage) -> Iterator[str]:
    """A note for each file whose header would be learned from as if it were data."""
    if data.header or data.format not in DELIMITED:
        return
    for part in (train_part(data), validation_part(data)):
        for source in storage.expand(part.files, part.field):
            if sniff(f"{source.name}.{data.format}", plain_text(source)).header:
                yield (
                    f"{source.name}: its first line looks like names of columns, and is read as "
                    "data; if it names them, set `data.header: true`"
                )


def _check_classes(
    spec: JobSpec, known: Sequence[Record], every: Sequence[Record]
) -> dict[str, int]:
    role = next((role for role in CLASSES if role in TASKS[spec.task.kind].roles), None)
    if role is None or (spec.model.HasField("init") and not spec.task.labels):
        return {}  # Only the platform knows the classes of a version.
    classes = find_classes(known, role, spec.task.labels)
    counts = [0] * len(classes.names)
    for record in every:
        for number in label_ids(record, role, classes.numbers):
            counts[number] += 1
        if role == "label" and not spec.task.multi_label:
            check_one_class(record, role)
    return dict(zip(classes.names, counts, strict=True))


def _check_parts(spec: JobSpec, data: DataSettings, storage: Storage) -> Checked:
    """What can be said of the files that lie here, where others do not."""
    if data.format not in {"text", "parallel", "dataset"}:
        for part in (train_part(data), validation_part(data)):
            read_part(data, part, _roles(spec, data), storage)
    return Checked(skipped="some of it only the workers can read")


def _check_once(paths: Mapping[str, Sequence[tuple[str, Path]]]) -> None:
    """Raise FILE_NAMED_TWICE for a file that is trained on twice, or trained and evaluated on."""
    seen: dict[tuple[Path, Path | None], str] = {}
    for name, targets in _PAIRS:
        others: list[Path | None] = [path for _, path in paths[targets]]
        if len(others) != len(paths[name]):
            others = [None] * len(paths[name])
        for (place, path), other in zip(paths[name], others, strict=True):
            key = (path.resolve(), other.resolve() if other else None)
            if key in seen:
                description = f"{path} is named by {seen[key]} already; name each file once"
                raise errors.InvalidArgumentError.at(place, description, "FILE_NAMED_TWICE")
            seen[key] = place


def _paths(spec: JobSpec, name: str, folder: Path) -> list[tuple[str, Path]]:
    """The local files of a field, and the entry that names each."""
    return [
        (place, path)
        for place, entry in _entries(spec, name)
        if not split_url(entry)[0]
        for path in expand(entry, folder, place)
    ]


def _entries(spec: JobSpec, name: str) -> Iterator[tuple[str, str]]:
    for index, entry in enumerate(getattr(spec.data, name)):
        yield f"data.{name}[{index}]", entry


def _local(data: DataSettings) -> DataSettings:
    """Settings that name no other files than local ones."""

    def kept(entries: Sequence[str]) -> tuple[str, ...]:
        return tuple(entry for entry in entries if not split_url(entry)[0])

    return replace(
        data,
        files=kept(data.files),
        target_files=kept(data.target_files),
        validation_files=kept(data.validation_files),
        validation_target_files=kept(data.validation_target_files),
    )


def _expand(folder: Path) -> Callable[[Sequence[str], str], list[Source]]:
    def files(entries: Sequence[str], name: str) -> list[Source]:
        return [
            _source(path, folder, name)
            for index, entry in enumerate(entries)
            for path in expand(entry, folder, f"{name}[{index}]")
        ]

    return files


def _source(path: Path, folder: Path, name: str) -> Source:
    base = folder.absolute()
    shown = path.relative_to(base) if path.is_relative_to(base) else path
    return Source(name=str(shown), url=str(shown), field=name, open=path.read_bytes)


def _no_data_set(url: str, _wanted: Sequence[str], name: str) -> Opened:
    raise errors.InvalidArgumentError.at(name, f"{url} is no local file", "DATA_UNREADABLE")
