"""An empty database of a controller, migrated once for all the tests of a process.

To migrate takes ten times as long as to see that nothing is left to do.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from tessera.controller.store.engine import engine
from tessera.controller.store.migrating import migrate


def migrated(path: Path) -> Path:
    """Have a database at `path`, unless there is one; returns it."""
    if not path.exists():
        path.write_bytes(_empty())
    return path


@cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "controller.db"
        made = engine(f"sqlite:///{path}", "", 1)
        with made.execution_options(tessera_write=True).begin() as connection:
            migrate(connection)
        made.dispose()
        assert list(Path(folder).iterdir()) == [path], "all of it is in one file"
        return path.read_bytes()
