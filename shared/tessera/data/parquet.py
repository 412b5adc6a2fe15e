"""The rows of a Parquet file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tessera.data.arrow import arrow
from tessera.data.content import plain_bytes
from tessera.data.features import features_of, has_classes, named
from tessera.data.rows import Row
from tessera.data.source import Source


def parquet_rows(source: Source, wanted: Sequence[str] | None) -> Iterator[Row]:
    """Rows by number; numbers of classes become their names, if the file has them.

    Args:
        source: the file.
        wanted: columns; others are None, unread. None: all.

    Raises:
        InvalidArgumentError: DATA_UNREADABLE.
        FailedPreconditionError: PYARROW_NOT_INSTALLED.
    """
    pa, parquet = arrow("Parquet"), arrow("Parquet", "pyarrow.parquet")
    try:
        file = parquet.ParquetFile(pa.BufferReader(plain_bytes(source)))
        schema = file.schema_arrow
        blank = dict.fromkeys(schema.names)
        chosen = [name for name in schema.names if wanted is None or name in wanted]
        features = features_of(schema.metadata)
        classes = {name for name in chosen if has_classes(features.get(name))}
        number = 0
        for batch in file.iter_batches(columns=chosen):
            for row in batch.to_pylist():
                number += 1
                told = {name: named(features[name], row[name]) for name in classes}
                yield number, {**blank, **row, **told}
    except (pa.ArrowException, OSError) as error:
        raise source.unreadable(f"is no Parquet file: {error}") from None
