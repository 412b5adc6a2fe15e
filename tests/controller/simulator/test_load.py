"""What is read from the openb trace, and what is drawn from a seed."""

from __future__ import annotations

from tessera.controller.simulator.load import openb_nodes, openb_work, synthetic

NODES = """sn,cpu_milli,memory_mib,gpu,model
n0,32000,262144,0,
n1,96000,393216,8,G2
"""
TASKS = """\
name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time
t0,12000,16384,1,1000,,LS,Running,0,100,10
t1,6000,12288,1,460,V100M16|V100M32,LS,Running,5,25,5
t2,4000,1024,0,0,,BE,Pending,7,9,
t3,8000,1024,2,1000,G2,BE,Running,8,20,8
"""


def test_nodes_of_the_trace():
    bare, full = openb_nodes(NODES.splitlines())
    assert (bare.id, bare.cpu, bare.devices) == ("n0", 32_000, ())
    assert full.devices == ("G2",) * 8


def test_tasks_of_the_trace():
    first, second, third, fourth = openb_work(TASKS.splitlines(), "q")
    assert first.duration == 90.0
    assert first.work.sets[0].shape.devices == 1
    assert second.work.flavours == ("V100M16", "V100M32")
    assert second.work.sets[0].shape.share == 460
    assert (third.duration, third.work.wants_devices) == (2.0, False)
    assert fourth.work.sets[0].shape.devices == 2


def test_the_load_is_what_was_asked_for():
    scenario = synthetic(3, nodes=8, jobs=400, queues={"a": 0.5, "b": 0.5}, load=1.0)
    asked = sum(
        item.duration * each.min * (each.shape.devices + each.shape.share / 1000)
        for item in scenario.work
        for each in item.work.sets
    )
    span = scenario.work[-1].work.arrival
    assert 0.9 < asked / (span * 8 * 8) < 1.1
    assert scenario == synthetic(3, nodes=8, jobs=400, queues={"a": 0.5, "b": 0.5}, load=1.0)
