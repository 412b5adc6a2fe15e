"""Runs a scenario through the scheduler: arrivals, ends and faults, audited. Pure.

The simulation stands where the controller will: it tells the state what has happened, runs a pass,
and carries out what was decided. What it knows beyond the scheduler, how long work really takes and
when nodes die, it draws from its seed.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace

import numpy as np

from tessera.controller.scheduling import snapshot
from tessera.controller.scheduling.decisions import Decisions
from tessera.controller.scheduling.node import Node
from tessera.controller.scheduling.packing import Policy
from tessera.controller.scheduling.schedule import schedule
from tessera.controller.scheduling.shape import WHOLE
from tessera.controller.scheduling.state import SchedulerState
from tessera.controller.scheduling.workload import Hold
from tessera.controller.simulator.auditor import Auditor
from tessera.controller.simulator.clock import SimulatedClock
from tessera.controller.simulator.faults import Faults
from tessera.controller.simulator.load import Scenario, SimulatedWork
from tessera.controller.simulator.report import Measures

BACKOFF = 60.0
"""Seconds that work waits after a failure of its own."""
CHECKPOINT = 300.0
"""Seconds from one checkpoint to the next: what a dead node costs at most."""
DETECTION = 10.0
"""Seconds after which it is seen that what was decided was not carried out."""


class InvariantError(AssertionError):
    """The auditor found something wrong; the message says what, and when."""


@dataclass(slots=True)
class Attempt:
    """Work that runs: when it began, how far it was before, and which attempt it is."""

    item: SimulatedWork
    number: int = 0
    done: float = 0.0
    began: float = 0.0
    first_start: float | None = None
    serial: int = 0
    running: bool = False
    failures: int = 0


@dataclass(slots=True)
class Simulation:
    """One run of a scenario."""

    scenario: Scenario
    seed: int = 0
    faults: Faults = field(default_factory=Faults)
    policy: Policy | None = None
    audit: bool = True
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    measures: Measures = field(default_factory=Measures)
    state: SchedulerState = field(init=False)
    _auditor: Auditor = field(init=False)
    _dice: random.Random = field(init=False)
    _attempts: dict[str, Attempt] = field(default_factory=dict)
    _queued_pass: bool = False

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)  # noqa: S311
        self.state = SchedulerState(self.policy)
        self._auditor = Auditor(self.state)
        self.state.put_queues(*self.scenario.queues)
        for node in self.scenario.nodes:
            self.state.put_node(node)
            self._may_die(node)
        for item in self.scenario.work:
            self.clock.at(item.work.arrival, lambda item=item: self._arrive(item))  # type: ignore[misc]

    def run(self, until: float = math.inf) -> Measures:
        """Until all work is over, or until a time.

        Raises:
            InvariantError: something is not as it must be.
        """
        while self.measures.finished < len(self.scenario.work):
            upcoming = self.clock.next_time()
            if upcoming is None or upcoming > until:
                break
            self.clock.step()
            self._pass()
        return self.measures

    def _arrive(self, item: SimulatedWork) -> None:
        self._auditor.sent(item.work.id)
        self._attempts[item.work.id] = Attempt(item)
        self.state.arrive(item.work)

    def _pass(self) -> None:
        now = self.clock.now
        if self._dice.random() < self.faults.restart:
            self.state = self._auditor.state = snapshot.copy(self.state)
        decisions = schedule(self.state, now)
        if decisions.admissions or decisions.preemptions:
            self.measures.passes += 1
        self._carry_out(decisions)
        wake = self.state.wake_at
        if wake is not None and not self._queued_pass:
            self._queued_pass = True
            self.clock.at(wake, self._woken)
        if self.audit:
            problems = self._auditor.problems()
            if problems:
                raise InvariantError(f"seed {self.seed}, at {now:.0f} s: {'; '.join(problems)}")
        self._sample()

    def _woken(self) -> None:
        self._queued_pass = False

    # What was decided

    def _carry_out(self, decisions: Decisions) -> None:
        for admission in decisions.admissions:
            if self._dice.random() < self.faults.forgotten:
                # The controller died after writing it down: it is told again, and only then runs.
                self.clock.at(
                    self.clock.now + DETECTION,
                    lambda id_=admission.workload: self._begin(id_),  # type: ignore[misc]
                )
            else:
                self._begin(admission.workload)
        for preemption in decisions.preemptions:
            self.measures.preemptions += 1
            attempt = self._attempts[preemption.victim]
            late = self._dice.random() < self.faults.graceless
            leaves = preemption.deadline if late else self.clock.now + self._dice.uniform(1.0, 5.0)
            serial = attempt.serial
            self.clock.at(
                min(leaves, preemption.deadline),
                lambda a=attempt, s=serial: self._leave(a, s),  # type: ignore[misc]
            )

    def _begin(self, id_: str) -> None:
        attempt, now = self._attempts[id_], self.clock.now
        allocation = self.state.allocations.get(id_)
        if allocation is None or attempt.running:
            return
        if any(node not in self.state.table.rows for node in allocation.nodes):
            self._again(attempt)
            return
        attempt.running, attempt.began = True, now
        attempt.number += 1
        attempt.serial += 1
        if attempt.first_start is None:
            attempt.first_start = now
            self.measures.waits.append(now - attempt.item.work.arrival)
        else:
            self.measures.restarts += 1
        left = attempt.item.duration - attempt.done
        fails = self._dice.random() < self.faults.job_failure
        runs = left * self._dice.random() if fails else left
        limit = allocation.work.limit
        if limit is not None and runs > limit:
            runs, fails = limit, False
        serial = attempt.serial
        self.clock.at(now + runs, lambda: self._end(attempt, serial, failed=fails))

    def _end(self, attempt: Attempt, serial: int, *, failed: bool) -> None:
        """An attempt ends by itself, or at its limit."""
        if attempt.serial != serial or not attempt.running:
            return
        self._stop(attempt)
        if failed and attempt.failures < self.faults.retries:
            attempt.failures += 1
            self._again(attempt, held=BACKOFF)
            return
        self.measures.failed += failed
        self.measures.finished += 1
        self.state.finish(attempt.item.work.id, self.clock.now)
        self._auditor.over(attempt.item.work.id)

    def _leave(self, attempt: Attempt, serial: int) -> None:
        """Who was asked to go has written a checkpoint, and goes."""
        if attempt.serial == serial and attempt.running:
            attempt.done += self.clock.now - attempt.began
            self._stop(attempt)
            self._again(attempt)
        elif not attempt.running and attempt.item.work.id in self.state.allocations:
            self._again(attempt)

    def _stop(self, attempt: Attempt) -> None:
        attempt.running = False
        attempt.serial += 1
        work = attempt.item.work
        allocation = self.state.allocations[work.id]
        used = sum(amount for name, amount in allocation.amounts.items() if _device(name))
        spent = (self.clock.now - attempt.began) * used / WHOLE
        self.measures.by_queue[work.queue] = self.measures.by_queue.get(work.queue, 0.0) + spent

    def _again(self, attempt: Attempt, held: float = 0.0) -> None:
        """The attempt is over, the work is not: it waits once more."""
        work, now = attempt.item.work, self.clock.now
        self.state.finish(work.id, now)
        if held:
            hold = Hold(reason="BACKOFF", message="It failed a moment ago.", until=now + held)
            self.clock.at(now + held, lambda: None)
            work = replace(work, hold=hold)
        self.state.arrive(work)

    # Nodes

    def _may_die(self, node: Node) -> None:
        if self.faults.node_mtbf:
            lives = self._dice.expovariate(1 / self.faults.node_mtbf)
            self.clock.at(self.clock.now + lives, lambda: self._die(node))

    def _die(self, node: Node) -> None:
        """A node dies, and with it every gang that has a worker there."""
        hit = self.state.remove_node(node.id)
        for id_ in hit:
            attempt = self._attempts[id_]
            if attempt.running:
                ran = self.clock.now - attempt.began
                attempt.done += ran - ran % CHECKPOINT
                self._stop(attempt)
            self._again(attempt)
        repair = self._dice.expovariate(1 / self.faults.node_repair)
        self.clock.at(self.clock.now + repair, lambda: self._return(node))

    def _return(self, node: Node) -> None:
        self.state.put_node(node)
        self._may_die(node)

    # Measures

    def _sample(self) -> None:
        table = self.state.table
        rows = np.array(sorted(table.rows.values()), np.int64)
        free = np.maximum(table.free.devices[rows], 0)
        have = float(table.capacity.devices[rows].sum()) / WHOLE
        used = have - float(free.sum()) / WHOLE
        broken = float(free[free < WHOLE].sum()) / WHOLE
        self.measures.samples.append((self.clock.now, used, have, broken))


def _device(resource: str) -> bool:
    return resource not in {"cpu", "memory"}


def shares_of(scenario: Scenario) -> dict[str, float]:
    """The part of the fleet that each queue is due to, by its weight."""
    leaves = [queue for queue in scenario.queues if queue.parent]
    total = sum(queue.weight for queue in leaves)
    return {queue.name: queue.weight / total for queue in leaves}
