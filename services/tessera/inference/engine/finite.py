"""Numbers of a model that are not finite: what is one, and which versions gave them. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tessera import errors

REASON = "OUTPUT_NOT_FINITE"


@dataclass(frozen=True, slots=True)
class NotFinite:
    """What an item gets of a step instead of a result: its numbers say nothing.

    A log-probability of -inf is none of these: a model may rule something out. Not a number,
    +inf, and a row in which everything is ruled out are.
    """


class Corruption:
    """How many requests of each version have ended because its numbers were not finite."""

    def __init__(self) -> None:
        self._corrupted: Counter[int] = Counter()
        self._sound: set[int] = set()

    def ended(self, version: int) -> errors.InternalError:
        """Count a request that broke; returns what its reader is told."""
        self._corrupted[version] += 1
        return errors.InternalError(
            f"version {version} of the model computed numbers that are not finite for this"
            " request, so there is no answer; its weights, or their element type, are at fault",
            reason=REASON,
            metadata={"version": str(version)},
        )

    def answered(self, version: int) -> None:
        """A version has given a result that is finite."""
        self._sound.add(version)

    def retain(self, versions: set[int]) -> None:
        """Forget all other versions."""
        self._sound &= versions
        for version in self._corrupted.keys() - versions:
            del self._corrupted[version]

    def count(self, version: int) -> int:
        """Requests of a version that broke."""
        return self._corrupted[version]

    def hopeless(self, version: int) -> bool:
        """Whether a version has given nothing else."""
        return self._corrupted[version] > 0 and version not in self._sound

    def message(self, version: int) -> str:
        """What there is to say of a version; empty if all is well."""
        count = self._corrupted[version]
        if not count:
            return ""
        what = "one request" if count == 1 else f"{count} requests"
        rest = ", and has answered none" if self.hopeless(version) else ""
        return f"version {version} computed numbers that are not finite for {what}{rest}"
