"""Samples that each host makes once and every run with the same data, tokenizer and code shares."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from tessera.data.record import Record
from tessera.trainer.data.cache import cached, private_folder
from tessera.trainer.data.hosts import agreed, on_hosts
from tessera.trainer.data.table import Sample, Table
from tessera.trainer.failure import UserError
from tessera.trainer.ranks import Ranks

_CODE = ("tessera.trainer", "tessera.data", "tessera.text")
"""Packages that decide what becomes of a record."""


def prepare_table(
    ranks: Ranks,
    key_parts: Iterable[str | bytes],
    records: Sequence[Record],
    encode: Callable[[Sequence[Record]], Iterable[Sample]],
    root: Path | None = None,
) -> Table:
    """The table of the samples of records; every rank calls it.

    Args:
        ranks: the first rank of each host encodes, unless the host has the table already.
        key_parts: all that the samples depend on besides records and code: the tokenizer, lengths.
        records: looked at on the first rank of each host only.
        encode: makes samples of records.
        root: keeps the tables; a folder of this user's among the temporary files by default.

    Raises:
        UserError: DATA_DIFFERS between hosts, DATA_EMPTY without samples, or what `encode` raises.
    """
    place = root or private_folder("tables")
    parts = [part.encode() if isinstance(part, str) else part for part in key_parts]
    key = agreed(ranks, on_hosts(ranks, lambda: _key(parts, records)))

    def build(folder: Path) -> None:
        Table.write(folder, encode(records))

    on_hosts(ranks, lambda: cached(place, key, build))
    # Others cannot miss it: it stays while the rank that asked for it lives.
    table = Table.open(cached(place, key, _absent))
    agreed(ranks, table.digest)
    if not len(table):
        description = "no record makes a sample: all are too long, or empty; see the task's limits"
        raise UserError.at("data.files", description, "DATA_EMPTY")
    return table


def _key(parts: Sequence[bytes], records: Sequence[Record]) -> str:
    digest = hashlib.sha256(code_digest())
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    for record in records:
        digest.update(json.dumps(record.values, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()[:32]


@cache
def code_digest() -> bytes:
    """Of all code that makes samples, so that none that other code made is taken for its own."""
    digest = hashlib.sha256(version("tokenizers").encode())
    for package in _CODE:
        root = Path(str(files(package)))
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.digest()


def _absent(folder: Path) -> None:
    raise FileNotFoundError(f"{folder.stem}: this rank does not share its host's temporary files")
