"""What keeps the tree in shape: rules that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [ROOT / "services", ROOT / "shared"]
GENERATED = ("shared/tessera/api/", "shared/buf/")
HAND_WRITTEN = ("services", "shared", "tests", "benchmarks", "docs", "examples", "protos")
MAX_LINES = 400
HEAVY = ("torch", "ray", "transformers", "tokenizers", "fsspec")
# What a laptop without a cluster imports, and what the controller's image holds.
LIGHT = (
    "attempt",
    "cli",
    "client",
    "controller",
    "data",
    "lines",
    "local",
    "log",
    "rpc",
    "spec",
    "weights",
)
# Checked by import-linter as well, but only this sees what is imported at run time.
BLOCKER = """
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            raise ImportError(f"{{name}} is not installed here")

sys.meta_path.insert(0, Blocker())
for name in {names!r}:
    importlib.import_module(name)
"""


def _tracked() -> list[Path]:
    """Files in version control, relative to the root, that are there."""
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = [Path(name) for name in done.stdout.split("\0") if name]
    return [path for path in paths if (ROOT / path).is_file()]


TRACKED = _tracked()


def written() -> list[Path]:
    """Tracked files that people write."""
    return [path for path in TRACKED if not str(path).startswith(GENERATED)]


def modules(*parts: str) -> list[Path]:
    """Hand-written Python files below the parts of the two source trees."""
    found = [path for path in written() if path.suffix == ".py" and path.parts[0] in parts]
    assert found
    return found


def subpackages() -> list[Path]:
    return sorted(
        folder
        for source in SOURCES
        for folder in (source / "tessera").iterdir()
        if folder.is_dir() and folder.name not in {"api", "__pycache__"} and any(folder.iterdir())
    )


def test_tessera_is_a_namespace() -> None:
    """An `__init__.py` here hides one source tree from the other in an editable install."""
    for source in SOURCES:
        assert (source / "tessera").is_dir()
        assert not (source / "tessera" / "__init__.py").exists()


@pytest.mark.parametrize("folder", subpackages(), ids=lambda folder: folder.name)
def test_subpackage(folder: Path) -> None:
    assert (folder / "py.typed").is_file()
    for package in {path.parent for path in folder.rglob("*.py")}:
        if "migrations" in package.parts:
            continue
        tree = ast.parse((package / "__init__.py").read_text())
        assert ast.get_docstring(tree), f"{package}: say what it is"
        code = [
            node
            for node in tree.body[1:]
            if not isinstance(node, ast.Import | ast.ImportFrom | ast.Assign)
        ]
        assert not code, f"{package}: an __init__ names and exports, it does not do"


@pytest.mark.parametrize("part", HAND_WRITTEN)
def test_module_can_be_read_in_one_sitting(part: str) -> None:
    lengths = {path: len((ROOT / path).read_text().splitlines()) for path in modules(part)}
    over = {str(path): lines for path, lines in lengths.items() if lines > MAX_LINES}
    assert not over, f"more than {MAX_LINES} lines: it wants a second room"


def test_every_part_has_its_layer() -> None:
    """import-linter says nothing of a part that no layer names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (layers,) = [
        contract["layers"]
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    ]
    named = {name.strip() for layer in layers for name in layer.split("|")}
    parts = {path.parts[2].removesuffix(".py") for path in modules("services", "shared")} | {"api"}
    assert named == {f"tessera.{part}" for part in parts}


def test_nothing_of_one_machine_is_written_down() -> None:
    """Neither where this clone lies nor whose it is, nor scratch folders with a name."""
    home = str(Path.home())
    private = [re.escape(str(ROOT)), *([re.escape(home) + "/"] if home.count("/") > 1 else [])]
    pattern = re.compile("|".join([*private, r"(?<![\w.])/tmp/[\w-]+/", r"index[-]url"]))
    for path in written():
        try:
            text = (ROOT / path).read_text()
        except UnicodeDecodeError:
            continue
        found = pattern.search(text)
        assert not found, f"{path}: {found[0] if found else ''}"


def test_documents_that_are_named_exist() -> None:
    names = {path.name for path in TRACKED if path.suffix == ".md"}
    for path in written():
        if path.suffix not in {".md", ".py", ".yaml", ".proto", ".toml"}:
            continue
        for name in re.findall(r"\b[\w-]+\.md\b", (ROOT / path).read_text()):
            assert name in names, f"{path} names {name}, which is not here"


def test_links_of_documents_lead_somewhere() -> None:
    for path in written():
        if path.suffix != ".md":
            continue
        folder = (ROOT / path).parent
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / path).read_text()):
            assert (folder / link).exists(), f"{path} links to {link}, which is not here"


def test_every_target_is_phony() -> None:
    """A target named like a folder does nothing, and says so to nobody, unless it is phony."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?m)^([a-z][\w-]*):(?!=)", makefile))
    phony = set(re.findall(r"(?m)^\.PHONY: (.+)$", makefile))
    assert targets == phony


def test_commands_of_documents_are_targets() -> None:
    targets = set(re.findall(r"(?m)^([a-z][\w-]*):(?!=)", (ROOT / "Makefile").read_text()))
    for path in written():
        if path.suffix == ".md":
            for target in re.findall(r"`make ([a-z-]+)", (ROOT / path).read_text()):
                assert target in targets, f"{path} names `make {target}`, which is not there"


def light_modules(package: str) -> list[str]:
    """Importable names of a package's modules; migrations run in Alembic's context only."""
    every = modules("services", "shared")
    found = [path for path in every if path.parts[2].removesuffix(".py") == package]
    return [
        ".".join(path.with_suffix("").parts[1:]).removesuffix(".__init__")
        for path in found
        if "migrations" not in path.parts and path.name != "__main__.py"
    ]


@pytest.mark.processes
@pytest.mark.parametrize("package", LIGHT)
def test_imports_without_torch_and_ray(package: str) -> None:
    names = light_modules(package)
    assert names, f"tessera.{package} is gone: mend LIGHT"
    done = subprocess.run(
        [sys.executable, "-c", BLOCKER.format(heavy=set(HEAVY), names=names)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
