"""How well models learn: rows of docs/quality.md, each trained and asked through the platform.

    make quality DATA=FOLDER [ROWS="sst2 multi30k"] [SEEDS=3]

FOLDER holds tinyshakespeare/input.txt, multi30k-en-de/*.gz and sst2/*.tsv. Rows that are not run
keep their lines.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from rows.platform import platform
from run import dated, machine

DOCUMENT = Path(__file__).parents[1] / "docs" / "quality.md"
ROWS = {
    "shakespeare": "held-out loss ≤ 1.88 nats",
    "multi30k": "sacreBLEU ≥ 30 on test2016, trained within one hour on 2 cores",
    "sst2": "above TF-IDF + logistic regression of the same run",
    "hybrid": "BERT-GPT against a Transformer of equal size and training",
}
TITLE = """# Quality

Every row is a job that was submitted to a platform on this machine, committed, deployed and asked
over gRPC; `make quality DATA=FOLDER ROWS=NAME` runs it again and writes this page. Values are means
over seeds, with the standard deviation after ±.
"""


def measure(name: str, data: Path, seeds: list[int]) -> list[dict[str, Any]]:
    """The lines of one row."""
    module = importlib.import_module(f"rows.{name}")
    with platform() as here:
        found = [dated({**line, "row": name}) for line in module.run(here, data, seeds)]
    for line in found:
        print(json.dumps(line, ensure_ascii=False), flush=True)
    return found


def earlier() -> list[dict[str, Any]]:
    """The lines of the page as it is."""
    if not DOCUMENT.exists():
        return []
    return [json.loads(line) for line in DOCUMENT.read_text().splitlines() if line[:1] == "{"]


def row(line: dict[str, Any]) -> str:
    """One line of the table."""
    value = f"**{line['value']:.4g}** ± {line['spread']:.2g} {line['unit']}".strip()
    peer = f"{line['baseline_value']:.4g}"
    cells = (
        line["metric"],
        value,
        line["baseline"],
        peer,
        line["seeds"],
        f"{line['seconds']} s",
        line["day"],
    )
    return f"| {' | '.join(map(str, cells))} |"


def document(lines: list[dict[str, Any]]) -> str:
    """The whole of docs/quality.md."""
    aims = [
        f"- `{name}` ([how](../benchmarks/rows/{name}.py)): {aim}" for name, aim in ROWS.items()
    ]
    head = ["what", "ours", "beside", "reaches", "seeds", "longest job", "day"]
    return "\n".join(
        [
            TITLE,
            f"Measured on {machine()}.",
            "",
            *aims,
            "",
            f"| {' | '.join(head)} |",
            f"|{'---|' * len(head)}",
            *map(row, lines),
            "",
            "```json",
            *(json.dumps(line, ensure_ascii=False) for line in lines),
            "```",
            "",
        ]
    )


def main() -> None:
    """Run the rows that are named, or all, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    told = parser.parse_args()
    unknown = [name for name in told.rows if name not in ROWS]
    if unknown:
        sys.exit(f"there is no row {unknown[0]}; there are: {', '.join(ROWS)}")
    names, seeds = told.rows or list(ROWS), list(range(1, told.seeds + 1))
    kept = [line for line in earlier() if line["row"] not in names]
    for name in names:
        kept += measure(name, told.data.resolve(), seeds)
        DOCUMENT.write_text(document(sorted(kept, key=lambda line: list(ROWS).index(line["row"]))))


if __name__ == "__main__":
    main()
