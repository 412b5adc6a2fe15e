"""Import every module of Tessera from the given roots, and from nowhere else.

    python tests/smoke.py ROOT…

An editable install and a wheel hide each other's failures, so `make wheel` tries both. Every file
of the working tree must be below the roots too: migrations and `py.typed` count like modules.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

SOURCES = [Path(__file__).resolve().parent.parent / name for name in ("services", "shared")]


def files(roots: list[Path]) -> set[str]:
    """Paths below the roots' `tessera` and `buf`, caches left out."""
    return {
        path.relative_to(root).as_posix()
        for root in roots
        for package in ("tessera", "buf")
        for path in (root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def name_of(path: str) -> str:
    """`tessera/rpc/__init__.py` is `tessera.rpc`."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def main(roots: list[Path]) -> None:
    """Check the files, then import; the first failure ends the run."""
    missing = sorted(files(SOURCES) - files(roots))
    if missing:
        sys.exit(f"not below {[str(root) for root in roots]}: {missing}")
    sys.path[:0] = [str(root) for root in roots]
    names = [
        name_of(path)
        for path in sorted(files(roots))
        # Migrations are run by Alembic, inside its own context.
        if path.endswith(".py") and "/migrations/" not in path and "__main__" not in path
    ]
    for name in names:
        module = importlib.import_module(name)
        origin = Path(module.__file__ or "").resolve()
        if not any(origin.is_relative_to(root) for root in roots):
            sys.exit(f"{name} came from {origin}")
    sys.stdout.write(
        f"{len(names)} modules imported from {', '.join(str(root.name) for root in roots)}\n"
    )


if __name__ == "__main__":
    main([Path(argument).resolve() for argument in sys.argv[1:]])
