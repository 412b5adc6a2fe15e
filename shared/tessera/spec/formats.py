"""The form that files have, by their names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from tessera.api.controller.v1.spec_pb2 import DataSpec
from tessera.spec.urls import DATASET, split_url

PACKED = (".gz", ".bz2", ".xz", ".zst")
"""Endings of compressed files; the one before says what is inside."""

DELIMITED = ("csv", "tsv")
"""Formats whose first line may name the columns."""

_ENDINGS: Mapping[str, str] = {
    ".jsonl": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}


def format_of(data: DataSpec) -> str:
    """The format of data that names none."""
    if data.target_files:
        return "parallel"
    if any(split_url(url)[0] == DATASET for url in data.files):
        return "dataset"
    path = PurePosixPath(next(iter(data.files), "").lower())
    if path.suffix in PACKED:
        path = path.with_suffix("")
    return _ENDINGS.get(path.suffix, "text")
