"""Any order of deltas and passes: the state stays what its parts say it is."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from small_fleets import node, placeable, random_nodes, random_queues, random_work, state_of

from tessera.controller.scheduling import snapshot
from tessera.controller.scheduling.node import NodeGroup
from tessera.controller.scheduling.schedule import schedule
from tessera.controller.scheduling.workload import Hold
from tessera.controller.simulator.auditor import Auditor

SEEDS = st.integers(0, 1 << 16)


class Deltas(RuleBasedStateMachine):
    """Nodes, queues and work come, change and go; now and then a pass is made."""

    def __init__(self):
        super().__init__()
        self.dice = random.Random(0)
        self.state = state_of(*random_nodes(self.dice), queues=random_queues(self.dice))
        self.auditor = Auditor(self.state)
        self.now, self.sent = 0.0, 0
        self.settled = False

    @rule(seed=SEEDS)
    def send(self, seed):
        self.sent += 1
        item = random_work(random.Random(seed), f"w{self.sent:03}", self.now)
        if seed % 5 == 0:
            hold = Hold(reason="DEPENDENCY", message="It waits.", until=self.now + seed % 50)
            item = replace(item, hold=hold)
        self.state.arrive(item)
        self.auditor.sent(item.id)
        self.settled = False

    @rule(seed=SEEDS)
    def end(self, seed):
        every = sorted(self.state.allocations) + sorted(
            id_ for kind in self.state.waiting.classes() for id_ in kind.members
        )
        if every:
            id_ = every[seed % len(every)]
            self.state.finish(id_, self.now)
            self.auditor.over(id_)
            self.settled = False

    @rule(seconds=st.sampled_from([0.0, 5.0, 30.0]))
    def decide(self, seconds):
        self.now += seconds
        twin = snapshot.copy(self.state)
        assert schedule(twin, self.now) == schedule(self.state, self.now)
        self.settled = True

    @rule(seed=SEEDS)
    def lose_a_node(self, seed):
        names = sorted(self.state.table.rows)
        if len(names) > 1:
            for id_ in self.state.remove_node(names[seed % len(names)]):
                self.state.finish(id_, self.now)
                self.auditor.over(id_)
            self.settled = False

    @rule(seed=SEEDS)
    def change_a_node(self, seed):
        names = sorted(self.state.table.rows)
        if names:
            row = self.state.table.rows[names[seed % len(names)]]
            old = self.state.table.node(row)
            self.state.put_node(replace(old, cordoned=seed % 2 == 0, cpu=old.cpu + 1000))
            self.settled = False

    @rule(seed=SEEDS)
    def add_a_node(self, seed):
        (item,) = random_nodes(random.Random(seed), most=1)
        name = f"n{seed % 6}"
        if name not in self.state.table.rows:
            self.state.put_node(replace(item, id=name))
            self.settled = False

    @rule(flavour=st.sampled_from(["H100", "A100"]), most=st.integers(0, 2))
    def change_a_group(self, flavour, most):
        template = node("t", 2, flavour=flavour, labels={"zone": "x"})
        self.state.put_group(NodeGroup(name=f"g{flavour}", template=template, max=most))
        self.settled = False

    @rule()
    def make_what_is_pending(self):
        for pending, group in list(self.state.growth.pending.items())[:1]:
            template = self.state.growth.groups[group].template
            name = f"m{pending}"
            bound = self.state.put_node(replace(template, id=name, group=group))
            assert bound
            assert all(each.node == name for each in bound)
            self.settled = False

    @rule(seed=SEEDS)
    def change_queues(self, seed):
        # A quota that falls below what is used is another matter: only to raise it is tried.
        branch = self.state.quotas.branches["ab"[seed % 2]]
        nominal = {name: amount + 1000 for name, amount in branch.queue.nominal.items()}
        self.state.put_queues(replace(branch.queue, nominal=nominal))
        self.settled = False

    @invariant()
    def all_is_well(self):
        assert not self.auditor.problems()

    @invariant()
    def nobody_waits_who_could_start(self):
        if self.settled:
            for kind in self.state.waiting.classes():
                assert not placeable(self.state, kind.head(), self.now)

    @invariant()
    def what_ends_is_what_is_held(self):
        _, rows, _ = self.state.times.in_order(self.now)
        held = [
            self.state.table.rows[worker.node]
            for allocation in self.state.allocations.values()
            for worker in allocation.workers
            if worker.node in self.state.table.rows
        ]
        assert sorted(rows.tolist()) == sorted(held)


TestDeltas = Deltas.TestCase
TestDeltas.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
