"""The texts that a language model learns from: those to train on and those held out."""

from __future__ import annotations

from collections.abc import Sequence

from tessera import errors
from tessera.data.content import plain_text
from tessera.data.parts import Part, Storage, sources_of, train_part, validation_part
from tessera.data.reading import empty, read
from tessera.data.record import Record, Roles
from tessera.data.settings import DataSettings
from tessera.data.split import Text, hash_fraction, split

_LEAST = 2
"""Characters of a single text: one to train on and one to hold out."""


def read_texts(data: DataSettings, storage: Storage) -> tuple[list[Text], list[Text]]:
    """Training and held-out texts: whole files of the format text, else what records say as `text`.

    Args:
        data: names the files.
        storage: has the files.

    Raises:
        InvalidArgumentError: as `read`.
    """
    if data.format != "text":
        train, held_out = read(data, Roles(required=("text",)), storage)
        return _texts(train), _texts(held_out)
    found = _fetch(data, train_part(data), storage, "DATA_EMPTY")
    if data.validation_files:
        return found, _fetch(data, validation_part(data), storage, "DATA_EMPTY_SPLIT")
    if len(found) == 1 and len(found[0].content.strip()) < _LEAST:
        description = "a single character cannot be trained on and held out; give more text"
        raise errors.InvalidArgumentError.at("data.files", description, "DATA_EMPTY_SPLIT")
    return split(found, data.held_out)


def _fetch(data: DataSettings, part: Part, storage: Storage, reason: str) -> list[Text]:
    """The files that are not blank, sorted by name; of each as much as `max_bytes` leaves."""
    sources = sources_of(part, storage)
    if data.max_bytes:
        sources.sort(key=lambda source: hash_fraction(f"order:{source.name}"))
    texts: list[Text] = []
    left = data.max_bytes
    for source in sources:
        content = plain_text(source)
        if data.max_bytes:
            content = content.encode()[:left].decode(errors="ignore")
            left -= len(content.encode())
        if content.strip():
            texts.append(Text(name=source.name, content=content))
        if data.max_bytes and left <= 0:
            break
    if not texts:
        raise empty(part, reason)
    return sorted(texts, key=lambda text: text.name)


def _texts(records: Sequence[Record]) -> list[Text]:
    return [Text(name=record.place, content=str(record.values["text"])) for record in records]
