"""docs/errors.md names what the code says, no more and no less."""

from __future__ import annotations

import ast
import re
from collections import defaultdict

import pytest
from sources import ROOT, files, texts

from tessera import errors

DOCUMENT = (ROOT / "docs" / "errors.md").read_text()
CODE = "\n".join(texts().values())
# Raised where a spec is read, checked and uploaded, and where data is read: the user's to mend.
MENDED_BY_USERS = [
    path
    for folder in (
        "shared/tessera/spec",
        "shared/tessera/spec/rules",
        "shared/tessera/client",
        "shared/tessera/data",
        "services/tessera/trainer/data",
    )
    for path in (ROOT / folder).glob("*.py")
] + [ROOT / "services/tessera/controller/services/submit.py"]
REASON = re.compile(r"\"([A-Z]+(?:_[A-Z]+)+)\"")
# Not about what a caller wrote.
OTHERS = {
    "ASSET_MISSING",
    "DEPLOYMENT_NOT_ENDED",
    "DEPLOYMENT_NOT_READY",
    "NOT_A_DIRECTORY",
    "UNSUPPORTED_DTYPE",
}
CLASSES = {
    name: re.sub(r"(?<!^)(?=[A-Z])", "_", name.removesuffix("Error")).upper()
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.TesseraError)
}
STATUSES = set(CLASSES.values())
CATEGORIES = {"OUT_OF_MEMORY", "WORKER_LOST"}


def named() -> set[str]:
    return set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", DOCUMENT))


def test_what_is_named_exists():
    missing = {reason for reason in named() if f'"{reason}"' not in CODE}
    assert not missing


@pytest.mark.parametrize("path", MENDED_BY_USERS, ids=lambda path: path.name)
def test_what_users_can_meet_is_named(path):
    found = set(REASON.findall(path.read_text())) - OTHERS - STATUSES
    assert not found - named()


def test_statuses_are_real():
    cells = re.findall(r"\| ([A-Z]+(?:_[A-Z]+)+) \|", DOCUMENT)
    assert cells
    assert not set(cells) - STATUSES - CATEGORIES


def stated():
    """(reason, status) of everything that happens before a job runs."""
    client, submit = re.split(r"^## .*\n", DOCUMENT, flags=re.MULTILINE)[1:3]
    found = {
        (reason, status or "INVALID_ARGUMENT")
        for reason, status in re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`(?: \(([A-Z_]+)\))?", client)
    }
    for status, reasons in re.findall(r"^\|[^|]+\| ([A-Z_]+) \|([^|]+)\|", submit, re.MULTILINE):
        found |= {(reason, status) for reason in re.findall(r"`([A-Z_]+)`", reasons)}
    return found


def raised():
    """Statuses of each reason, where an error is made with both in one place."""
    found = defaultdict(set)
    for tree in files().values():
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call):
                continue
            name = ast.unparse(call.func).removesuffix(".at").rpartition(".")[2]
            if name in CLASSES:
                for node in ast.walk(call):
                    if isinstance(node, ast.Constant) and REASON.fullmatch(f'"{node.value}"'):
                        found[node.value].add(CLASSES[name])
    return found


def test_statuses_are_those_that_are_raised():
    made = raised()
    known = [(reason, status) for reason, status in stated() if reason in made]
    assert len(known) > 60
    assert not [(reason, status) for reason, status in known if status not in made[reason]]
