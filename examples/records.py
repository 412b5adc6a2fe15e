"""Data of the examples: written once, the same every time, held-out samples apart."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

Record = Mapping[str, str]

DATA = Path(__file__).parent / "data"
TRAIN, HELD_OUT = "train.jsonl", "held-out.jsonl"


def write(path: Path, records: Iterable[Record]) -> None:
    """Write records as JSON lines, all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    unfinished = path.with_suffix(".part")
    unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
    unfinished.replace(path)


def read(path: Path) -> list[dict[str, str]]:
    """The records that `write` wrote."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
