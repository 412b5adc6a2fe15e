"""What a run found: a table, what went wrong and how to see it again, and the same as JSON."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from statistics import median
from typing import Any

from .processes import Child

WARM = 0.3
"""Part of a run after which memory should not grow any more."""
FLAT_MIB = 128.0
"""Growth of a platform's memory that is let pass after that: stores have caches of their own."""
SHOWN = 30


class Report:
    """Everything that the processes of a run told.

    Args:
        children: the processes, ended.
        seed: of the run.
        seconds: that it took.
        cpu_seconds: of all its processes.
    """

    def __init__(
        self, children: list[Child], seed: int, seconds: float, cpu_seconds: float = 0.0
    ) -> None:
        self._children = children
        self._seed = seed
        self._seconds = seconds
        self._cpu_seconds = cpu_seconds
        self._ended: dict[str, Counter[str]] = defaultdict(Counter)
        self._reached: Counter[str] = Counter()
        self._sent: dict[str, Counter[str]] = {"within": Counter(), "wire": Counter()}
        for child in children:
            # Of calls over sockets the server says how they ended, not the client.
            if child.name in {"within", "served"}:
                for method, code, count in child.tally.get("ended", ()):
                    self._ended[method][code] += count
                self._reached.update(child.tally.get("reached", {}))
            if child.name in self._sent:
                self._sent[child.name].update(child.tally.get("sent", {}))

    @property
    def findings(self) -> list[str]:
        """All that should not be, a line or more for each."""
        found = [f"{c.name}: {c.trouble}\n{c.stderr()}" for c in self._children if c.trouble]
        for child in self._children:
            if loop := child.tally.get("ended_loop"):
                found.append(f"{child.name}: {loop}")
            found += [f"{child.name} logged: {text}" for text in child.logged]
            found += [f"{child.name} let out: {text}" for text in child.defects]
            found += [_failure(child, each, self._seed) for each in child.failures]
            if "Traceback" in (text := child.stderr()) and not child.trouble:
                found.append(f"{child.name} wrote: {text}")
            if (grown := growth(child)) > FLAT_MIB:
                found.append(f"{child.name}: its memory grew by {grown:.0f} MiB")
        return found

    @property
    def failed(self) -> bool:
        """Whether something should not be."""
        return bool(self.findings) or any(self._codes()[c] for c in ("INTERNAL", "UNKNOWN"))

    def _codes(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for ended in self._ended.values():
            total.update(ended)
        return total

    def summary(self) -> dict[str, Any]:
        """The figures."""
        wire = next((c.tally for c in self._children if c.name == "wire"), {})
        return {
            "seed": self._seed,
            "seconds": round(self._seconds),
            "cpu_seconds": round(self._cpu_seconds),
            "messages": sum(sum(sent.values()) for sent in self._sent.values())
            + wire.get("sockets", 0),
            "over_sockets": sum(self._sent["wire"].values()),
            "broken_connections": wire.get("sockets", 0),
            "refused_while_writing_says_the_client": wire.get("clients_own", 0),
            "calls_by_status": dict(self._codes().most_common()),
            "memory_mib": {
                c.name: {"warm": round(warm(c)), "grown": round(growth(c))}
                for c in self._children
                if c.served
            },
            "methods": {
                method: {
                    "messages": self._sent["within"][method] + self._sent["wire"][method],
                    "over_sockets": self._sent["wire"][method],
                    "reached_handler": self._reached[method],
                    "calls": dict(self._ended[method].most_common()),
                }
                for method in sorted(self._ended)
            },
            "findings": self.findings,
        }

    def text(self) -> str:
        """For people."""
        lines = [table(self.summary()), ""]
        found = self.findings
        lines += [f"--- {text}" for text in found[:SHOWN]]
        if len(found) > SHOWN:
            lines.append(f"--- and {len(found) - SHOWN} more")
        codes = self._codes()
        told = self.summary()
        memory = ", ".join(
            f"{name} {m['warm']:,} MiB, {m['grown']:+,} MiB after the first {WARM:.0%}"
            for name, m in told["memory_mib"].items()
        )
        lines.append(
            f"{told['messages']:,} messages ({told['over_sockets']:,} over sockets, "
            f"{told['broken_connections']:,} broken connections) in {told['seconds']:,} s, "
            f"seed {self._seed}: {codes['INTERNAL']} INTERNAL, {codes['UNKNOWN']} UNKNOWN, "
            f"{len(found)} findings; memory: {memory}\n"
        )
        return "\n".join(lines)


def table(told: dict[str, Any]) -> str:
    """Methods and how their calls ended, in Markdown."""
    lines = [
        "| method | messages | over sockets | reached | calls by status |",
        "|---|---|---|---|---|",
    ]
    for method, of in told["methods"].items():
        calls = sum(of["calls"].values())
        codes = ", ".join(f"{code} {count:,}" for code, count in of["calls"].items())
        name = method.rpartition(".")[2].replace("/", ".")
        lines.append(
            f"| `{name}` | {of['messages']:,} | {of['over_sockets']:,} | "
            f"{of['reached_handler'] / max(1, calls):.0%} | {codes} |"
        )
    return "\n".join(lines)


def warm(child: Child) -> float:
    """MiB of a platform once it has warmed up."""
    first = int(len(child.rss) * WARM)
    return median(child.rss[first : first + max(1, len(child.rss) // 10)] or [0.0])


def growth(child: Child) -> float:
    """MiB that a platform has grown since it was warm."""
    last = child.rss[-max(1, len(child.rss) // 10) :]
    return median(last) - warm(child) if child.served and len(child.rss) > 20 else 0.0


def _failure(child: Child, told: dict[str, Any], seed: int) -> str:
    case = told["case"]
    again = f"make fuzz SEED={seed} FIRST={case['number']} MESSAGES=1"
    return (
        f"{child.name}: {case['method']} ended with {told['code']}: {told['details']}\n"
        f"again: {again}\n{json.dumps(case, ensure_ascii=False, indent=1)}"
    )
