"""What the scheduler is asked, and why some of it is held back."""

from __future__ import annotations

from tessera.controller.policy.demand import Demand
from tessera.controller.policy.job import JobProgress
from tessera.controller.policy.records import Deployment, Job
from tessera.controller.reconcile.admission import Waiting, requests


def job(name, not_before=0.0, attempt=0):
    return Job(
        id=name,
        tenant="default",
        owner="ada",
        name="demo",
        queue="default",
        priority=0,
        labels={},
        request_id="",
        request_digest="",
        spec="{}",
        demand=Demand(workers=1, cpus=1),
        publish_set=name,
        position=JobProgress(attempt=attempt),
        not_before=not_before,
    )


def holds(waiting, *, now=100.0, standing=True):
    asked = requests(waiting, now, standing=standing)
    return {r.key: r.hold.reason if r.hold else "" for r in asked}


def test_what_holds_a_job_back():
    waiting = Waiting(
        jobs=(job("a"), job("b", not_before=101.0, attempt=1), job("c", attempt=1)),
        deployments=(),
        ending=frozenset({"c"}),
    )
    assert holds(waiting) == {"a": "", "b": "BACKOFF", "c": "PREVIOUS_ATTEMPT_ENDING"}
    assert holds(waiting, now=101.0)["b"] == ""
    assert set(holds(waiting, standing=False).values()) == {"PARAMETERS_STARTING"}


def test_deployments_come_first():
    wanted = Deployment(
        tenant="default",
        name="m",
        owner="ada",
        spec="{}",
        generation="g",
        demand=Demand(workers=1, cpus=1),
    )
    asked = requests(
        Waiting(jobs=(job("a"),), deployments=(wanted,), ending=frozenset()), 0.0, standing=False
    )
    first = max(asked, key=lambda r: r.priority)
    assert (first.key, first.hold) == ("deployment/default/m", None)
