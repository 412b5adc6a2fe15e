"""The form that files have, by their names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from tessera.api.controller.v1.spec_pb2 import DataSpec
from tessera.data.content import PACKED
from tessera.spec.urls import DATASET, split_url

_ENDINGS: Mapping[str, str] = {
    ".json": "jsonl",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}


def format_of(data: DataSpec) -> str:
    """The format of data that names none; empty: its files are of several."""
    if data.target_files:
        return "parallel"
    if any(split_url(url)[0] == DATASET for url in data.files):
        return "dataset"
    urls = (url for url in (*data.files, *data.validation_files) if split_url(url)[0] != DATASET)
    found = {format_by_name(url) for url in urls} or {"text"}
    return found.pop() if len(found) == 1 else ""


def format_by_name(url: str) -> str:
    """The format of a file, or of all that a pattern stands for, by its ending."""
    path = PurePosixPath(url.lower())
    if path.suffix in PACKED:
        path = path.with_suffix("")
    return _ENDINGS.get(path.suffix, "text")
