"""Placement policies choose as their papers say."""

from __future__ import annotations

import numpy as np
import pytest
from small_fleets import node, state_of, work

from tessera.controller.scheduling.fragmentation import (
    FragmentationGradient,
    WorkProfile,
    fragmentation,
)
from tessera.controller.scheduling.packing import BestFit, FirstFit, Pack, RandomFit, Spread
from tessera.controller.scheduling.schedule import schedule
from tessera.controller.scheduling.shape import WorkerShape

WHOLE_AND_HALF = WorkProfile.of(
    [(WorkerShape(cpu=1000, devices=1), 0.5), (WorkerShape(cpu=1000, share=500), 0.5)]
)


def placed(policy, nodes, *items):
    state = state_of(*nodes, policy=policy)
    for number, item in enumerate(items):
        state.arrive(item)
        schedule(state, float(number))
    return [next(iter(state.allocations[item.id].nodes)) for item in items]


NODES = (node("a", 4, cpu=16), node("b", 2, cpu=8), node("c", 2, cpu=4))


@pytest.mark.parametrize(
    ("policy", "first"),
    [(FirstFit(), "a"), (BestFit(), "c"), (Spread(), "a"), (Pack(), "c")],
)
def test_the_first_worker(policy, first):
    assert placed(policy, NODES, work("w", 1)) == [first]


def test_packing_keeps_whole_devices_whole():
    nodes = (node("a", 2, cpu=16), node("b", 2, cpu=16))
    items = [work("s1", share=500), work("w", 1), work("s2", share=500), work("two", 2)]
    assert placed(Pack(), nodes, *items) == ["a", "a", "a", "b"]


def test_work_without_devices_goes_where_there_are_none():
    nodes = (node("a", 2, cpu=2), node("b", 0, cpu=64))
    for policy in (Pack(), FragmentationGradient(WHOLE_AND_HALF)):
        assert placed(policy, nodes, work("w", cpu=2)) == ["b"]


def test_random_places_come_from_the_seed():
    items = [work(f"w{number}", 1) for number in range(8)]
    first, same, other = (placed(RandomFit(seed), NODES, *items) for seed in (1, 1, 2))
    assert first == same
    assert first != other


def columns(*values):
    return np.array(values, np.int64)


def test_fragments_are_what_expected_work_cannot_use():
    """A node with processors for one, 0.4 and 1 of its devices free: as in the paper, by hand."""
    cpu, memory = columns(1000), columns(1 << 20)
    found = fragmentation(WHOLE_AND_HALF, cpu, memory, np.array([[400, 1000]]))
    assert found == pytest.approx([400.0])
    found = fragmentation(WHOLE_AND_HALF, cpu, memory, np.array([[600, 600]]))
    assert found == pytest.approx([0.5 * 1200])
    found = fragmentation(WHOLE_AND_HALF, columns(0), memory, np.array([[1000, 1000]]))
    assert found == pytest.approx([2000.0])


def test_the_gradient_fills_a_broken_device():
    nodes = (node("a", 1), node("b", 1))
    policy = FragmentationGradient(WHOLE_AND_HALF)
    first, second = placed(policy, nodes, work("x", share=500), work("y", share=500))
    assert first == second


def test_an_instance_of_work_says_nothing_of_none():
    empty = WorkProfile.of([])
    assert fragmentation(empty, columns(1), columns(1), np.array([[1000]])).tolist() == [0.0]
