"""Rules of the house that hold the words in the tree to what they say."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import pytest
from sources import ROOT, trees

PURITY = "what decides knows no wire, no cluster, no tensors and no database"
SERVICES = ("controller", "trainer", "parameters", "inference")
TWICE = {
    "SamplingParams": "the same thing at two ends: the client asks, the replica writes by them",
    "Sampler": "the field's word, twice: vLLM's draws tokens, torch's draws samples",
    "Task": "the two sides of one task: training a model for it, and asking one for it",
}
"""Class names that may stand in two parts, and why."""
MAX_FUNCTION = 40
LONG = {
    # Commands: nearly all of it is their options, from which typer makes the help.
    "tessera.cli.generate.generate": 62,
    "tessera.cli.translate.translate": 41,
    "tessera.cli.submit.submit": 41,
    "tessera.cli.up.up": 59,
    # A process from its first line to its last, in order.
    "tessera.trainer.__main__.main": 43,
}
"""Functions that are longer, and how long: a number here may only fall."""


def first_line(tree: ast.Module) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((ast.get_docstring(tree) or "").partition("\n\n")[0].split())


def below(module: str, names: set[str]) -> bool:
    """Whether a module is one of the names, or stands in a folder that is."""
    return any(module == name or module.startswith(name + ".") for name in names)


def contract() -> set[str]:
    """What import-linter holds to the rule: modules, or folders with all that is in them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (rule,) = [
        rule for rule in project["tool"]["importlinter"]["contracts"] if rule["name"] == PURITY
    ]
    return set(rule["source_modules"])


def test_what_says_that_it_is_pure_stands_under_the_contract() -> None:
    """And the other way round: who opens a file reads what import-linter holds it to."""
    says = {name for name, tree in trees().items() if first_line(tree).endswith(" Pure.")}
    listed = contract()
    saying = {name for name in trees() if below(name, says)}
    held = {name for name in trees() if below(name, listed)}
    assert says
    assert not saying - held, "says `Pure.`: add it to the contract in pyproject.toml"
    assert not held - saying, "under the contract: let its docstring's first line end in `Pure.`"
    assert not listed - set(trees()), "in the contract, but not in the tree"


def test_purity_has_one_wording() -> None:
    """Half a promise is none: `Pure.` closes the first line, or the word is not there."""
    for name, tree in trees().items():
        words = re.sub(r" Pure\.$", "", first_line(tree))
        assert not re.search(r"\bpure\b", words, re.IGNORECASE), f"{name}: {first_line(tree)}"


def part(module: str) -> str:
    """A service, or a part of the shared library."""
    return module.split(".")[1]


def test_a_class_name_means_one_thing() -> None:
    """Two parts that say the same name mean the same thing, or one of them takes another name."""
    parts: dict[str, dict[str, str]] = {}
    for module, tree in trees().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                parts.setdefault(node.name, {})[part(module)] = module
    twice = {name: sorted(of.values()) for name, of in parts.items() if len(of) > 1}
    assert {*SERVICES} <= {place for of in parts.values() for place in of}
    new = {name: of for name, of in twice.items() if name not in TWICE}
    assert not new, "one word, one thing: rename one of these, or say in TWICE why not"
    assert not TWICE.keys() - twice.keys(), "once now: take it out of TWICE"


def imports(module: str) -> set[str]:
    """Modules of the tree that one imports, be it for types alone or when it is called."""
    names: set[str] = set()
    for node in ast.walk(trees()[module]):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names.update(name if name in trees() else node.module for name in whole)
    return names & trees().keys()


def room(module: str, package: str) -> str:
    """The file or folder of a package that a module is, or stands in; empty: its `__init__`."""
    return module.removeprefix(package).strip(".").partition(".")[0]


def test_rooms_lie_above_one_another() -> None:
    """In every folder: what a file or a folder imports lies below it, and nothing goes in rings."""
    arrows = [(module, target) for module in trees() for target in imports(module)]
    packages = {module.rpartition(".")[0] for module in trees()}
    for package in packages:
        below_of: dict[str, set[str]] = {}
        for module, target in arrows:
            if below(module, {package}) and below(target, {package}):
                upper, lower = room(module, package), room(target, package)
                if upper != lower:
                    below_of.setdefault(upper, set()).add(lower)
        try:
            TopologicalSorter(below_of).prepare()
        except CycleError as error:
            pytest.fail(f"{package}: a ring of {', '.join(error.args[1][1:])}")


def functions(module: str) -> Iterator[tuple[str, int]]:
    """Dotted names and lines of a module's functions, their docstrings not counted."""
    open_ = [(module, trees()[module].body)]
    while open_:
        name, body = open_.pop()
        for node in body:
            if isinstance(node, ast.ClassDef):
                open_.append((f"{name}.{node.name}", node.body))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first, last = node.body[0], node.end_lineno or 0
                told = ast.get_docstring(node, clean=False) is not None
                docstring = (first.end_lineno or 0) - first.lineno + 1 if told else 0
                yield f"{name}.{node.name}", last - node.lineno + 1 - docstring


def test_functions_are_short() -> None:
    """Migrations are lists of columns, and are never touched again."""
    lengths = {
        name: lines
        for module in trees()
        if ".migrations." not in module
        for name, lines in functions(module)
    }
    allowed = {name: LONG.get(name, MAX_FUNCTION) for name in lengths}
    over = {name: lines for name, lines in lengths.items() if lines > allowed[name]}
    assert not over, f"more than {MAX_FUNCTION} lines: it wants a second function"
    stale = {name: lengths.get(name) for name, most in LONG.items() if lengths.get(name) != most}
    assert not stale, "shorter now: write the new length into LONG, or take it out"


def rpcs() -> Iterator[tuple[str, str]]:
    """Service and name of every RPC of the platform's own."""
    for path in sorted((ROOT / "shared" / "tessera" / "api").rglob("*_pb2.py")):
        name = ".".join(path.relative_to(ROOT / "shared").with_suffix("").parts)
        for service in importlib.import_module(name).DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield service.name, method.name


def serves(tree: ast.Module, service: str) -> bool:
    """Whether a module has the handlers of a service."""
    return any(
        isinstance(node, ast.ClassDef)
        and any(ast.unparse(base).endswith(f"{service}Servicer") for base in node.bases)
        for node in ast.walk(tree)
    )


def asked(tree: ast.Module) -> set[str]:
    """What may be the RPCs that a module calls: by a stub's attribute, or by their name."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not ast.unparse(node.value).endswith("pb"):
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value.rpartition("/")[2])
    return names


def test_every_rpc_has_a_user() -> None:
    """One that nothing but a test calls is dead code, whoever answers it."""
    callers = {name: asked(tree) for name, tree in trees().items()}
    idle = [
        f"{service}.{method}"
        for service, method in rpcs()
        if not any(
            method in names and not serves(trees()[module], service)
            for module, names in callers.items()
        )
    ]
    assert not idle, f"no product code calls {', '.join(idle)}"
