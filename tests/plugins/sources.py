"""Our own modules as trees, for the rules that hold them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("services", "shared")
GENERATED = ("shared/tessera/api", "shared/buf")


@cache
def texts() -> dict[str, str]:
    """Every hand-written module as it is written, by its path from the root."""
    paths = {
        path.relative_to(ROOT).as_posix(): path
        for source in SOURCES
        for path in sorted((ROOT / source).rglob("*.py"))
    }
    return {
        name: path.read_text() for name, path in paths.items() if not name.startswith(GENERATED)
    }


@cache
def files() -> dict[str, ast.Module]:
    """Every hand-written module as a tree, by its path from the root."""
    return {name: ast.parse(text) for name, text in texts().items()}


@cache
def trees() -> dict[str, ast.Module]:
    """Every hand-written module, by its dotted name."""
    return {
        name.partition("/")[2].removesuffix(".py").replace("/", ".").removesuffix(".__init__"): tree
        for name, tree in files().items()
    }
