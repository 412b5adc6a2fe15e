"""Files of a folder while others remove some of them: what is gone meanwhile is not there."""

from __future__ import annotations

import glob
from pathlib import Path


def found(folder: Path, pattern: str) -> list[Path]:
    """As `Path.glob`, which fails where a folder goes while it looks (Python 3.11)."""
    return [folder / name for name in glob.glob(pattern, root_dir=folder)]  # noqa: PTH207
