"""What queues have, use, borrow and lend, kept current as work comes and goes. Pure.

A queue draws on what it keeps for itself first, then on its parent, where sisters leave what they
lend: the arithmetic of Kueue's hierarchical cohorts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tessera.controller.scheduling.queue import Queue
from tessera.controller.scheduling.usage import UsageHistory


@dataclass(slots=True, kw_only=True, eq=False)
class QueueBranch:
    """A queue at work.

    Args:
        quota: its own and what its children lend, by resource.
        kept: the part of it that it lends to nobody.
        drawn: what it has taken, and what its children have drawn on it.
        history: what it and its children use, now and before.
        set_aside: for the first of its own that waits for quota: nobody behind takes it.
    """

    queue: Queue
    parent: QueueBranch | None = None
    children: list[QueueBranch] = field(default_factory=list)
    quota: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    drawn: dict[str, int] = field(default_factory=dict)
    history: UsageHistory = field(default_factory=UsageHistory)
    set_aside: dict[str, int] = field(default_factory=dict)
    limited: frozenset[str] = frozenset()

    def path(self) -> Iterator[QueueBranch]:
        """Itself, its parent, and so on to the root."""
        branch: QueueBranch | None = self
        while branch is not None:
            yield branch
            branch = branch.parent

    def draw(self, resource: str, amount: int) -> None:
        """Take an amount; below zero: give it back."""
        before = max(0, self.drawn.get(resource, 0) - self.kept.get(resource, 0))
        self.drawn[resource] = self.drawn.get(resource, 0) + amount
        beyond = max(0, self.drawn[resource] - self.kept.get(resource, 0)) - before
        if beyond and self.parent is not None:
            self.parent.draw(resource, beyond)

    def available(self, resource: str) -> tuple[int, QueueBranch, bool]:
        """How much it may still take, which branch is the limit, and whether for borrowing."""
        quota, drawn = self.quota.get(resource, 0), self.drawn.get(resource, 0)
        if self.parent is None:
            return quota - drawn, self, False
        kept = self.kept.get(resource, 0)
        left, limit, borrowing = self.parent.available(resource)
        if resource in self.queue.borrowing:
            own = quota - kept - max(0, drawn - kept) + self.queue.borrowing[resource]
            if own < left:
                left, limit, borrowing = own, self, True
        return max(0, kept - drawn) + left, limit, borrowing

    def most(self, resource: str) -> int:
        """How much it could ever use."""
        quota = self.quota.get(resource, 0)
        if self.parent is None:
            return quota
        kept, most = self.kept.get(resource, 0), self.parent.most(resource)
        if resource in self.queue.borrowing:
            most = min(most, quota - kept + self.queue.borrowing[resource])
        return kept + most

    def borrows(self, resources: Iterable[str]) -> bool:
        """Whether it uses more than its own of any of these."""
        return any(
            self.drawn.get(name, 0) > self.quota.get(name, 0)
            for name in resources
            if name in self.limited
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """A quota that stands in the way.

    `queue` is where the limit is; `missing` of the resource are, of `most` that there could be.
    """

    queue: str
    resource: str
    missing: int
    borrowing: bool
    ever: bool
    set_aside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Quota that is set aside for work that waits; `due`: it is its queue's own."""

    queue: str
    amounts: dict[str, int]
    due: bool


class Quotas:
    """The tree of queues; `claims` are what is set aside, by the work that it is for."""

    def __init__(self) -> None:
        self.branches: dict[str, QueueBranch] = {}
        self._taken: dict[str, dict[str, int]] = {}
        self.claims: dict[str, Claim] = {}

    def put(self, *queues: Queue) -> None:
        """Add queues, or change them; a parent may come later."""
        for queue in queues:
            old = self.branches.get(queue.name)
            history = old.history if old else UsageHistory()
            self.branches[queue.name] = QueueBranch(queue=queue, history=history)
        self._rebuild()

    def remove(self, name: str) -> None:
        """Forget a queue; what it uses counts for nobody until it is back."""
        if self.branches.pop(name, None):
            self._rebuild()

    def _rebuild(self) -> None:
        self.claims.clear()
        for name, old in self.branches.items():
            self.branches[name] = QueueBranch(queue=old.queue, history=old.history)
        for branch in self.branches.values():
            parent = self.branches.get(branch.queue.parent)
            if parent is not None and branch not in parent.path():
                branch.parent = parent
                parent.children.append(branch)
        for branch in self.branches.values():
            if branch.parent is None:
                _settle(branch)
                _limit(branch, frozenset(_named(branch)))
        for name, amounts in self._taken.items():
            self._draw(name, amounts, 1)

    def take(self, name: str, amounts: Mapping[str, int], now: float) -> None:
        """Work of a queue starts."""
        self._use(name, amounts, 1, now)

    def give(self, name: str, amounts: Mapping[str, int], now: float) -> None:
        """Work of a queue is over."""
        self._use(name, amounts, -1, now)

    def _use(self, name: str, amounts: Mapping[str, int], sign: int, now: float) -> None:
        mine = self._taken.setdefault(name, {})
        for resource, amount in amounts.items():
            mine[resource] = mine.get(resource, 0) + sign * amount
        if branch := self.branches.get(name):
            for step in branch.path():
                step.history.change(amounts, sign, now)
        self._draw(name, amounts, sign)

    def _draw(self, name: str, amounts: Mapping[str, int], sign: int) -> None:
        if branch := self.branches.get(name):
            for resource, amount in amounts.items():
                if resource in branch.limited:
                    branch.draw(resource, sign * amount)

    def pretend(self, name: str, amounts: Mapping[str, int], sign: int) -> None:
        """Work of a queue were over (-1), or were not after all (1): for a trial."""
        self._draw(name, amounts, sign)

    def claim(self, id_: str, name: str, amounts: Mapping[str, int]) -> None:
        """Set quota aside for work that waits: nobody behind it in its queue takes it.

        What is due to its queue is set aside in the whole tree, what would be borrowed is not.
        """
        due = self.entitled(name, amounts) is self.branches[name]
        self.claims[id_] = Claim(queue=name, amounts=dict(amounts), due=due)
        self._stake(self.claims[id_], 1)

    def lift(self, id_: str) -> Claim | None:
        """Set nothing aside for some work any more."""
        claim = self.claims.pop(id_, None)
        if claim is not None:
            self._stake(claim, -1)
        return claim

    def restore(self, id_: str, claim: Claim) -> None:
        """Set aside again what was lifted."""
        self.claims[id_] = claim
        self._stake(claim, 1)

    def _stake(self, claim: Claim, sign: int) -> None:
        if claim.due:
            self._draw(claim.queue, claim.amounts, sign)
        elif branch := self.branches.get(claim.queue):
            aside = branch.set_aside
            for resource, amount in claim.amounts.items():
                aside[resource] = aside.get(resource, 0) + sign * amount

    def clear(self) -> None:
        """Set nothing aside any more."""
        for id_ in list(self.claims):
            self.lift(id_)

    def shortage(self, name: str, amounts: Mapping[str, int]) -> Shortage | None:
        """The first quota that stands in the way of using so much; None: none does."""
        branch = self.branches[name]
        for resource, amount in amounts.items():
            if resource not in branch.limited:
                continue
            left, limit, borrowing = branch.available(resource)
            behind = branch.set_aside.get(resource, 0)
            if amount > left - behind:
                return Shortage(
                    queue=limit.queue.name,
                    resource=resource,
                    missing=amount - (left if amount > left else left - behind),
                    borrowing=borrowing,
                    ever=amount <= branch.most(resource),
                    set_aside=amount <= left,
                )
        return None

    def entitled(self, name: str, amounts: Mapping[str, int]) -> QueueBranch | None:
        """The narrowest branch to whose own quota so much is due; None: it would be borrowed."""
        limited = self.branches[name].limited
        asked = {name: amount for name, amount in amounts.items() if name in limited}
        for branch in self.branches[name].path():
            if branch.parent is None and branch.queue.name != name:
                break  # All that there is: to fit into it makes nothing one's own.
            if all(
                branch.drawn.get(resource, 0) + amount <= branch.quota.get(resource, 0)
                for resource, amount in asked.items()
            ):
                return branch
        return None

    def used(self, name: str) -> Mapping[str, int]:
        """What work of a queue uses, without its children's."""
        return self._taken.get(name, {})


def _named(branch: QueueBranch) -> Iterator[str]:
    yield from branch.queue.nominal
    for child in branch.children:
        yield from _named(child)


def _limit(branch: QueueBranch, names: frozenset[str]) -> None:
    branch.limited = names
    for child in branch.children:
        _limit(child, names)


def _settle(branch: QueueBranch) -> None:
    """Sum up what a branch and its children have."""
    branch.quota = dict(branch.queue.nominal)
    for child in branch.children:
        _settle(child)
        for resource, amount in child.quota.items():
            lent = amount - child.kept.get(resource, 0)
            branch.quota[resource] = branch.quota.get(resource, 0) + lent
    branch.kept = {
        resource: max(0, amount - branch.queue.lending[resource])
        for resource, amount in branch.quota.items()
        if resource in branch.queue.lending
    }
