"""The files that a field of the spec names, opened as their format says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tessera.trainer.data import rows
from tessera.trainer.data.hub import dataset_name, dataset_rows
from tessera.trainer.data.rows import Row
from tessera.trainer.data.settings import DataSettings
from tessera.trainer.data.sources import ReadBlob, Source, expand
from tessera.trainer.data.split import hash_fraction
from tessera.trainer.failure import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is trained on, or what is held out.

    Args:
        field: of the spec: data.files or data.validation_files.
        files: URLs.
        target_field: of the spec.
        target_files: URLs of translations.
    """

    field: str
    files: tuple[str, ...]
    target_field: str
    target_files: tuple[str, ...]


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


def opened(
    data: DataSettings, part: Part, wanted: Sequence[str], read_blob: ReadBlob
) -> Iterator[tuple[str, Iterator[Row]]]:
    """Name and rows of each file, read as they are asked for.

    If not all may be read, files come in an order that their names draw.

    Args:
        data: says how to read them.
        part: names them.
        wanted: columns that have to be read.
        read_blob: reads an upload.

    Raises:
        UserError: whatever is wrong with the files.
    """
    found = list(_named(data, part, wanted, read_blob))
    if data.max_bytes:
        found.sort(key=lambda named: hash_fraction(f"order:{named[0]}"))
    yield from found


def _named(
    data: DataSettings, part: Part, wanted: Sequence[str], read_blob: ReadBlob
) -> Iterator[tuple[str, Iterator[Row]]]:
    if data.format == "dataset":
        for url in part.files:
            yield dataset_name(url), dataset_rows(url, wanted, part.field)
        return
    sources = expand(part.files, read_blob, part.field)
    if data.format == "parallel":
        for source, target in _pairs(sources, part, read_blob):
            yield source.name, rows.parallel_rows(source, target)
        return
    for source in sources:
        yield source.name, _rows(data, source, wanted)


def _rows(data: DataSettings, source: Source, wanted: Sequence[str]) -> Iterator[Row]:
    match data.format:
        case "jsonl":
            return rows.jsonl_rows(source)
        case "csv":
            return rows.csv_rows(source, header=data.header)
        case "tsv":
            return rows.tsv_rows(source, header=data.header)
        case "parquet":
            return rows.parquet_rows(source, wanted)
        case _:
            return rows.text_rows(source)


def _pairs(
    sources: Sequence[Source], part: Part, read_blob: ReadBlob
) -> Iterator[tuple[Source, Source]]:
    targets = expand(part.target_files, read_blob, part.target_field)
    if len(sources) != len(targets):
        description = (
            f"there are {len(targets)} files here, but {len(sources)} in `{part.field}`; "
            "name one for each, in the same order"
        )
        raise UserError.at(part.target_field, description, "DATA_NOT_PARALLEL")
    return zip(sources, targets, strict=True)
