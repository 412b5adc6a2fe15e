"""How well models learn: rows of docs/quality.md, each trained and asked through the platform.

    make quality DATA=FOLDER [ROWS="sst2 multi30k"] [SEEDS=3]

FOLDER holds tinyshakespeare/input.txt, multi30k-en-de/*.gz and sst2/*.tsv. Rows that are not run
keep their lines. It ends with code 1 if a row misses its aim, once all are run and written down.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from rows.platform import platform
from run import MEASURED, dated, lines_in, machine

DOCUMENT = Path(__file__).parents[1] / "docs" / "quality.md"
ROWS = {
    "shakespeare": "held-out loss ≤ 1.88 nats; it is the job's own, over the whole validation "
    "split, and nothing is deployed",
    "multi30k": "sacreBLEU ≥ 30 on test2016, trained within one hour on 2 cores; the model is "
    "deployed, and translates over gRPC",
    "sst2": "test accuracy above that of TF-IDF + logistic regression in the same run, with its "
    "defaults and tuned; the model is deployed, and classifies over gRPC",
    "hybrid": "no aim, but a comparison: sacreBLEU of a BERT-GPT and of a Transformer of equal "
    "size and training; both are deployed, and translate over gRPC",
}
TITLE = """# Quality

Every row is a job for each seed, or two to compare, submitted to a platform on this machine, which
commits the model; how that is scored differs, and stands below.
`make quality DATA=FOLDER ROWS=NAME` runs a row again, writes this page and fails if the aim is
missed. Values are means over seeds, with the standard deviation after ± where there are several.
A row stays until it is run again: one of another day may be of another machine of the same size.
"""


def measure(name: str, data: Path, seeds: list[int]) -> tuple[list[dict[str, Any]], str]:
    """The lines of one row, and by what it misses its aim; empty: by nothing."""
    module = importlib.import_module(f"rows.{name}")
    with platform() as here:
        found = [dated({**line, "row": name}) for line in module.run(here, data, seeds)]
    for line in found:
        print(json.dumps(line, ensure_ascii=False), flush=True)
    missed: str = module.missed(found)
    return found, missed


def spread(line: dict[str, Any], name: str) -> str:
    """The deviation over seeds, where there are several."""
    return f" ± {line[name]:.2g}" if name in line and line["seeds"] > 1 else ""


def row(line: dict[str, Any]) -> str:
    """One line of the table."""
    value = f"**{line['value']:.4g}**{spread(line, 'spread')} {line['unit']}".strip()
    cells = (
        line["metric"],
        value,
        line["baseline"],
        f"{line['baseline_value']:.4g}{spread(line, 'baseline_spread')}",
        line["seeds"],
        f"{line['seconds']} s",
        line["day"],
    )
    return f"| {' | '.join(map(str, cells))} |"


def document(lines: list[dict[str, Any]], here: str) -> str:
    """The whole of docs/quality.md; `here` is what it was measured on."""
    measured = {line["row"] for line in lines}
    aims = [
        f"- `{name}` ([how](../benchmarks/rows/{name}.py)): {aim}"
        + ("" if name in measured else "; not run yet")
        for name, aim in ROWS.items()
    ]
    head = ["what", "ours", "beside", "reaches", "seeds", "longest job", "day"]
    return "\n".join(
        [
            TITLE,
            f"{MEASURED}{here}.",
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
    page = DOCUMENT.read_text() if DOCUMENT.exists() else ""
    kept, wrong = [line for line in lines_in(page) if line["row"] not in names], []
    for name in names:
        found, missed = measure(name, told.data.resolve(), seeds)
        kept += found
        wrong += [f"{name} misses its aim: {missed}"] if missed else []
        kept.sort(key=lambda line: list(ROWS).index(line["row"]))
        DOCUMENT.write_text(document(kept, machine()))
    if wrong:
        sys.exit("; ".join(wrong))


if __name__ == "__main__":
    main()
