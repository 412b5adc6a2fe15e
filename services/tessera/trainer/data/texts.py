"""The texts that a language model learns from: those to train on and those held out."""

from __future__ import annotations

from collections.abc import Sequence

from tessera.trainer.data.content import plain_text
from tessera.trainer.data.files import Part, train_part, validation_part
from tessera.trainer.data.read import read
from tessera.trainer.data.record import Record, Roles
from tessera.trainer.data.settings import DataSettings
from tessera.trainer.data.sources import ReadBlob, expand
from tessera.trainer.data.split import Text, hash_fraction, split
from tessera.trainer.failure import UserError


def read_texts(data: DataSettings, read_blob: ReadBlob) -> tuple[list[Text], list[Text]]:
    """Training and held-out texts: whole files of the format text, else what records say as `text`.

    Args:
        data: names the files.
        read_blob: reads an upload.

    Raises:
        UserError: as `read`.
    """
    if data.format != "text":
        train, held_out = read(data, Roles(required=("text",)), read_blob)
        return _texts(train), _texts(held_out)
    found = _fetch(data, train_part(data), read_blob, "DATA_EMPTY")
    if data.validation_files:
        return found, _fetch(data, validation_part(data), read_blob, "DATA_EMPTY_SPLIT")
    return split(found, data.held_out)


def _fetch(data: DataSettings, part: Part, read_blob: ReadBlob, reason: str) -> list[Text]:
    """The files that are not empty, sorted by name; of each as much as `max_bytes` leaves."""
    sources = expand(part.files, read_blob, part.field)
    if data.max_bytes:
        sources.sort(key=lambda source: hash_fraction(f"order:{source.name}"))
    texts: list[Text] = []
    left = data.max_bytes
    for source in sources:
        content = plain_text(source)
        if data.max_bytes:
            content = content.encode()[:left].decode(errors="ignore")
            left -= len(content.encode())
        if content:
            texts.append(Text(name=source.name, content=content))
        if data.max_bytes and left <= 0:
            break
    if not any(text.content.strip() for text in texts):
        raise UserError.at(part.field, f"there is no text in {', '.join(part.files)}", reason)
    return sorted(texts, key=lambda text: text.name)


def _texts(records: Sequence[Record]) -> list[Text]:
    return [Text(name=record.place, content=str(record.values["text"])) for record in records]
