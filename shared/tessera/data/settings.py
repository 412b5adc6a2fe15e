"""What a spec says about its data. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DELIMITED = ("csv", "tsv")
"""Formats whose first line may name the columns."""

COMMA = ","
"""What stands between cells unless another delimiter is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """Where the data is and how to read it.

    Args:
        files: URLs.
        format: text, jsonl, csv, tsv, parquet, parallel or dataset.
        target_files: of parallel text: line i of the k-th file translates to line i of the k-th
            of these.
        validation_files: held out in place of a share of `files`.
        validation_target_files: their translations.
        columns: role to column, or to a template of several; a role that is not named is its own
            column. Without a header the columns are `0`, `1`, …; `a.b.0` reaches into nested
            values.
        header: whether the first line of a csv or tsv file names its columns.
        delimiter: what stands between the cells of a csv file.
        label_names: names of classes, by what stands for them in the files.
        held_out: share that is held out where no file is.
        max_bytes: read at most so many, from files in an order that their names draw; 0: all.
    """

    files: tuple[str, ...]
    format: str = "text"
    target_files: tuple[str, ...] = ()
    validation_files: tuple[str, ...] = ()
    validation_target_files: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    header: bool = True
    delimiter: str = COMMA
    label_names: Mapping[str, str] = field(default_factory=dict)
    held_out: float = 0.05
    max_bytes: int = 0
