"""Simulated fleets with faults: nothing is lost, run twice or starved, and shares converge."""

from __future__ import annotations

import pytest
from small_fleets import node, work

from tessera.controller.scheduling.queue import Queue
from tessera.controller.simulator.faults import Faults
from tessera.controller.simulator.load import Scenario, SimulatedWork, synthetic
from tessera.controller.simulator.simulation import Simulation, shares_of

FAULTS = Faults(
    node_mtbf=20_000.0,
    node_repair=600.0,
    job_failure=0.1,
    forgotten=0.1,
    graceless=0.3,
    restart=0.05,
)
MONTH = 30 * 86_400.0
QUEUES = {"a": 0.5, "b": 0.3, "c": 0.2}


def short(seed, *, jobs=12):
    """A few nodes, a few jobs, and everything that can go wrong."""
    scenario = synthetic(seed, nodes=4, jobs=jobs, queues=QUEUES, load=1.5, flavours=("H100",))
    simulation = Simulation(scenario, seed=seed, faults=FAULTS)
    simulation.run(until=MONTH)
    return simulation


@pytest.mark.parametrize("seed", range(25))
def test_every_job_is_over_in_the_end_whatever_goes_wrong(seed):
    simulation = short(seed)
    assert simulation.measures.finished == len(simulation.scenario.work)
    assert not simulation.state.allocations
    assert not len(simulation.state.waiting)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_so_it_is_of_ten_thousand_runs():
    for seed in range(10_000):
        simulation = short(seed, jobs=8)
        assert simulation.measures.finished == len(simulation.scenario.work)


def test_a_seed_tells_all():
    first, second = short(7), short(7)
    assert first.measures == second.measures
    assert first.measures != short(8).measures


def test_shares_converge_where_everybody_wants_more():
    """Two queues with weights of three to one, each of which could fill the fleet alone."""
    queues = (
        Queue(name="all"),
        *(
            Queue(name=name, parent="all", nominal={}, weight=weight)
            for name, weight in (("a", 3.0), ("b", 1.0))
        ),
    )
    jobs = tuple(
        SimulatedWork(
            work=work(f"{queue}{number:03}", 1, queue=queue, limit=600.0, arrival=float(number)),
            duration=500.0 + number % 7,
        )
        for number in range(400)
        for queue in "ab"
    )
    nodes = tuple(node(f"n{number}", 4) for number in range(4))
    scenario = Scenario(nodes=nodes, queues=queues, work=jobs)
    simulation = Simulation(scenario)
    measures = simulation.run(until=8000.0)
    used = measures.by_queue
    assert used["a"] / used["b"] == pytest.approx(3.0, rel=0.15)
    report = measures.report(shares_of(scenario))
    assert report["fairness"] > 0.98
    assert report["utilisation"] > 0.95


def test_a_large_job_is_not_starved_by_a_stream_of_small_ones():
    small = tuple(
        SimulatedWork(
            work=work(f"s{number:03}", 1, limit=100.0, arrival=15.0 * number), duration=100.0
        )
        for number in range(100)
    )
    large = SimulatedWork(work=work("large", 8, limit=100.0, arrival=205.0), duration=50.0)
    scenario = Scenario(
        nodes=(node("n0", 8, cpu=16),),
        queues=(Queue(name="q"),),
        work=tuple(sorted((*small, large), key=lambda item: item.work.arrival)),
    )
    simulation = Simulation(scenario)
    simulation.run(until=400.0)
    attempt = simulation._attempts["large"]
    assert attempt.first_start is not None
    assert attempt.first_start <= 205.0 + 100.0


def test_backfill_uses_the_time_before():
    """Work whose limit ends before the large job may start takes what is kept for it."""
    jobs = (
        SimulatedWork(work=work("running", 4, limit=100.0), duration=100.0),
        SimulatedWork(work=work("large", 8, limit=100.0, arrival=1.0), duration=100.0),
        SimulatedWork(work=work("short", 4, limit=90.0, arrival=2.0), duration=80.0),
        SimulatedWork(work=work("long", 4, limit=110.0, arrival=3.0), duration=80.0),
    )
    scenario = Scenario(nodes=(node("n0", 8),), queues=(Queue(name="q"),), work=jobs)
    simulation = Simulation(scenario)
    simulation.run()
    starts = {id_: attempt.first_start for id_, attempt in simulation._attempts.items()}
    assert starts["short"] == 2.0
    assert starts["large"] == 100.0
    assert starts["long"] >= 200.0
