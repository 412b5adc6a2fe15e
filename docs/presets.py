"""Write the table of presets in docs/models.md; with --check, fail if it is not up to date."""

from __future__ import annotations

from pathlib import Path

from section import write

from tessera.models.family import Family
from tessera.models.registry import FAMILIES
from tessera.models.tasks import count_parameters

DOCUMENT = Path(__file__).with_name("models.md")
BEGIN, END = "<!-- presets: written by docs/presets.py -->\n", "<!-- /presets -->"
VOCABULARIES = {"bert-gpt": 32000, "bert": 30522, "transformer": 32000, "llama": 128256, "": 50257}
"""Tokens that presets are counted with, by how their names begin; the first that fits counts."""
COLUMNS = ("family", "preset", "layers", "width", "heads", "MLP", "context", "parameters")


def count(parameters: int) -> str:
    """A number of parameters as people say it."""
    for size, unit in ((10**9, "B"), (10**6, "M")):
        if parameters >= size:
            return f"{parameters / size:.1f} {unit}"
    return f"{parameters / 1000:.0f} k"


def row(family: Family, preset: str) -> tuple[str, ...]:
    """One preset."""
    vocabulary = next(size for name, size in VOCABULARIES.items() if preset.startswith(name))
    config = family.config(family.presets[preset], vocab_size=vocabulary)
    stack = config.stacks[0]
    layers = "+".join(str(each.layers) for each in config.stacks)
    heads = str(stack.heads) + (f"/{stack.kv_heads}" if stack.kv_heads != stack.heads else "")
    sizes = (layers, f"{stack.width}", heads, f"{stack.ff_width}", f"{config.context}")
    return (f"`{family.name}`", f"`{preset}`", *sizes, count(count_parameters(config)))


def table() -> str:
    """The whole table."""
    rows = [row(family, name) for family in FAMILIES.values() for name in family.presets]
    head = [COLUMNS, tuple("---" if index < 2 else "---:" for index in range(len(COLUMNS)))]  # noqa: PLR2004 - names to the left
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (*head, *rows))


if __name__ == "__main__":
    write(DOCUMENT, BEGIN, END, table(), "presets.py")
