"""The exit codes are those of the documentation, and stand in one place."""

from __future__ import annotations

import ast
import re
import signal
from pathlib import Path

from tessera import cli
from tessera.cli import exit_codes

ROOT = Path(__file__).parents[2]


def test_they_are_documented():
    text = (ROOT / "docs" / "errors.md").read_text()
    table = text.partition("| exit code | meaning |")[2].partition("\n\n")[0]
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert told == {
        exit_codes.DONE,
        exit_codes.FAILED,
        exit_codes.MISTAKE,
        exit_codes.INTERRUPTED,
        exit_codes.ended_by(signal.SIGTERM),
    }


def test_no_command_has_numbers_of_its_own():
    strange = []
    for path in Path(cli.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            ends = node.func.attr in {"exit", "_exit", "Exit"}
            if ends and any(isinstance(given, ast.Constant | ast.BinOp) for given in node.args):
                strange.append(f"{path.name}:{node.lineno}")
    assert not strange
