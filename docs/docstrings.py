"""Write a CSV of one's own: names and docstrings of Python's standard library, and a class of each.

It has no header, and its classes are numbers, from 1.

    python docs/docstrings.py > docstrings.csv
"""

from __future__ import annotations

import ast
import csv
import random
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

TOPICS = (
    ("asyncio", "concurrent", "multiprocessing", "threading.py"),
    ("email", "smtplib.py", "imaplib.py", "mailbox.py", "poplib.py"),
    ("http", "urllib", "socketserver.py", "wsgiref", "xmlrpc"),
    ("decimal.py", "_pydecimal.py", "fractions.py", "statistics.py", "random.py", "datetime.py"),
)
"""Modules of each class: those that do many things at once, and those of mail, web and numbers."""


def documented(module: Path) -> Iterator[tuple[str, str]]:
    """Name and docstring of what a module defines."""
    for node in ast.walk(ast.parse(module.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            text = " ".join((ast.get_docstring(node) or "").split())
            if text:
                yield node.name.replace("_", " ").strip(), text


def rows() -> list[tuple[str, str, int]]:
    """Name, docstring and class, shuffled."""
    root = Path(sysconfig.get_path("stdlib"))
    found = [
        (name, text, number)
        for number, modules in enumerate(TOPICS, 1)
        for module in modules
        for path in sorted((root / module).rglob("*.py") if "." not in module else [root / module])
        if path.is_file()
        for name, text in documented(path)
    ]
    random.Random(0).shuffle(found)  # noqa: S311 - an order, not a secret
    return found


if __name__ == "__main__":
    csv.writer(sys.stdout).writerows(rows())
