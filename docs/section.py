"""The part of a document that a script writes, between two marks."""

from __future__ import annotations

import sys
from pathlib import Path


def write(document: Path, begin: str, end: str, content: str, script: str) -> None:
    """Write it; with --check on the command line, end the program if it is not up to date.

    Args:
        document: that it is a part of.
        begin: the mark before it, with its line end.
        end: the mark after it.
        content: what stands between.
        script: that writes it, for whoever has to run it.
    """
    text = document.read_text()
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    new = f"{before}{begin}{content}{end}{after}"
    if "--check" in sys.argv[1:]:
        sys.exit(0 if new == text else f"{document.name} is old: run python docs/{script}")
    document.write_text(new)
