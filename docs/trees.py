"""Write the trees of services and of the shared library, a line for each file; --check: only look.

A line is the first one of the module's docstring, so that a map and a module never disagree.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- tree: written by docs/trees.py -->\n", "<!-- /tree -->"
MAPS = {
    ROOT / folder / "README.md": ROOT / folder
    for folder in (
        "services/tessera/controller",
        "services/tessera/trainer",
        "services/tessera/parameters",
        "services/tessera/inference",
        "shared/tessera",
    )
}
GENERATED = {"api", "__pycache__"}


def says(module: Path) -> str:
    """The first line of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(module.read_text())) or ""
    return docstring.partition("\n")[0]


def entries(folder: Path, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Names, indented, and what they say: the files of a folder, then its folders."""
    pad = "  " * depth
    inside = sorted(folder.iterdir())
    for path in inside:
        if path.suffix == ".py" and path.name != "__init__.py":
            yield f"{pad}{path.stem}", says(path)
    for path in inside:
        if path.is_dir() and path.name not in GENERATED and (path / "__init__.py").is_file():
            yield f"{pad}{path.name}/", says(path / "__init__.py")
            yield from entries(path, depth + 1)


def tree(folder: Path) -> str:
    """The whole tree as a fenced block."""
    rows = list(entries(folder))
    width = max(len(name) for name, _ in rows)
    return "```\n" + "".join(f"{name:<{width}}  {text}\n" for name, text in rows) + "```\n"


def main() -> None:
    """Write, or check."""
    old = []
    for document, folder in MAPS.items():
        text = document.read_text()
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        new = f"{before}{BEGIN}{tree(folder)}{END}{after}"
        if new != text:
            old.append(str(document.relative_to(ROOT)))
            if "--check" not in sys.argv[1:]:
                document.write_text(new)
    if "--check" in sys.argv[1:] and old:
        sys.exit(f"old: {', '.join(old)}; run make trees")


if __name__ == "__main__":
    main()
