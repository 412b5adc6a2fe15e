"""Small files of records as uploads, and what reading them gives or says."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from tessera import errors
from tessera.data.record import Roles
from tessera.data.settings import DataSettings
from tessera.trainer.data.read import read

CLASSIFY = Roles(required=("text", "label"), optional=("text_pair",))
TAGS = Roles(required=("tokens", "tags"))
PAIRS = Roles(required=("source", "target"))

ROWS = [
    {"text": "good", "label": "yes"},
    {"text": "bad, though", "label": "no"},
    {"text": 'a "quoted"\nline', "label": "yes"},
]


def content_of(files):
    """Files by name, as uploads."""
    blobs = {
        name: data if isinstance(data, bytes) else data.encode() for name, data in files.items()
    }
    return tuple(f"blob://{name}/{name}" for name in files), blobs.__getitem__


def records(files, roles=CLASSIFY, **told):
    """All records, by their place."""
    urls, read_blob = content_of(files)
    train, held_out = read(DataSettings(files=urls, **told), roles, read_blob)
    found = {record.place: dict(record.values) for record in [*train, *held_out]}
    assert len(found) == len(train) + len(held_out)
    return found


def both(data, roles, read_blob):
    train, held_out = read(data, roles, read_blob)
    return [*train, *held_out]


def fails(reason, field, files, roles=CLASSIFY, read_blob=None, **told):
    urls, blobs = content_of(files) if read_blob is None else (files, read_blob)
    with pytest.raises(errors.InvalidArgumentError) as caught:
        read(DataSettings(files=urls, **told), roles, blobs)
    error = caught.value
    found = (error.reason, error.violations[0].field)
    assert found == (reason, field), found
    return error.message


def jsonl(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def in_parquet(rows):
    out = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()
