"""The maps that newcomers read are held against the files."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CODE = ROOT / "docs" / "code.md"
STOP = re.compile(r"\[`(?P<symbol>[\w.]+)`\]\(\.\./(?P<path>[\w/.]+\.py)\)")


@pytest.mark.processes
def test_trees_are_what_is_there() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "trees.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr


@cache
def defined(path: Path) -> set[str]:
    """Functions, classes, `Class.method`s and constants of a module."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            inner = (n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
            names |= {f"{node.name}.{method.name}" for method in inner}
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def stops() -> list[tuple[str, str]]:
    return [(found["path"], found["symbol"]) for found in STOP.finditer(CODE.read_text())]


@pytest.mark.parametrize(("path", "symbol"), stops())
def test_a_stop_is_there(path: str, symbol: str) -> None:
    assert symbol in defined(ROOT / path), f"{path} defines no {symbol}"


def test_the_three_ways_and_the_checklists_are_there() -> None:
    headings = re.findall(r"(?m)^## (.+)$", CODE.read_text())
    ways = [heading.split(":")[0] for heading in headings[:3]]
    assert ways == ["Spec to loop", "Slice to replica", "Prompt to token"]
    assert {f"Add {what}" for what in ("a family", "a task", "a spec field", "an RPC")} <= set(
        headings
    )
