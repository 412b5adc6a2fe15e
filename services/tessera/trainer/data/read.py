"""The records and the texts of a run, from wherever workers read."""

from __future__ import annotations

from collections.abc import Sequence

from tessera.data import reading, texts
from tessera.data.files import Opened
from tessera.data.parts import Storage
from tessera.data.record import Record, Roles
from tessera.data.settings import DataSettings
from tessera.data.source import Source
from tessera.data.split import Text
from tessera.trainer.data.hub import dataset_name, dataset_rows
from tessera.trainer.data.sources import ReadBlob, expand


def read(
    data: DataSettings, roles: Roles, read_blob: ReadBlob
) -> tuple[list[Record], list[Record]]:
    """Training and held-out records; see `tessera.data.reading.read`.

    Args:
        data: names the files.
        roles: what is wanted of each record.
        read_blob: reads an upload.

    Raises:
        InvalidArgumentError: as there.
        UnavailableError: DATA_UNREACHABLE or HUB_UNREACHABLE.
    """
    return reading.read(data, roles, _storage(read_blob))


def read_texts(data: DataSettings, read_blob: ReadBlob) -> tuple[list[Text], list[Text]]:
    """Training and held-out texts; see `tessera.data.texts.read_texts`. Raises as `read` does."""
    return texts.read_texts(data, _storage(read_blob))


def _storage(read_blob: ReadBlob) -> Storage:
    def files(urls: Sequence[str], field: str) -> list[Source]:
        return expand(urls, read_blob, field)

    def data_set(url: str, wanted: Sequence[str], field: str) -> Opened:
        return Opened(name=dataset_name(url), rows=dataset_rows(url, wanted, field))

    return Storage(expand=files, data_set=data_set)
