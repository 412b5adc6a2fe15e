"""Write the table of rights in docs/security.md; with --check, fail if it is not up to date."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from section import write

from tessera.rpc.policy.rule import PEOPLE, Rule
from tessera.rpc.policy.table import TABLE
from tessera.rpc.principal import Role

DOCUMENT = Path(__file__).with_name("security.md")
BEGIN, END = "<!-- rights: written by docs/rights.py -->\n", "<!-- /rights -->"


def callers(rule: Rule) -> str:
    """Roles of people by the least of them, then workloads."""
    if rule.public:
        return "anybody, without a token"
    people = [role.value for role in Role if role in rule.roles & PEOPLE]
    workloads = [role.value for role in Role if role in rule.roles - PEOPLE]
    least = [f"**{people[0]}**"] if people else []
    return ", ".join(least + workloads)


def names(rule: Rule) -> str:
    """What the request must name."""
    return "; ".join(
        f"`{resource.field}`: {resource.kind.value}" if resource.field else resource.kind.value
        for resource in rule.resources
    )


def table() -> str:
    """A table for each service."""
    parts = []
    for service, methods in groupby(TABLE, key=lambda path: path.split("/")[1].split(".")[-1]):
        rows = "".join(
            f"| `{path.rpartition('/')[2]}` | {callers(TABLE[path])} | {names(TABLE[path])} |\n"
            for path in methods
        )
        parts.append(f"\n**{service}**\n\n| method | who | what it names |\n|---|---|---|\n{rows}")
    return "".join(parts).lstrip("\n")


if __name__ == "__main__":
    write(DOCUMENT, BEGIN, END, table(), "rights.py")
