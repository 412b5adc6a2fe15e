"""Outcomes, standing services, the registry, deployments' status and the command line."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from tessera import errors
from tessera.controller.__main__ import config, parser
from tessera.controller.policy import filters
from tessera.controller.policy.demand import Demand
from tessera.controller.policy.deployment import DeploymentState, Status, status
from tessera.controller.policy.desired import due, missing_endpoints, parameters, replicas
from tessera.controller.policy.job import Fail, Stop
from tessera.controller.policy.outcome import EX_TEMPFAIL, Run, RunStatus, decide, last_traceback
from tessera.controller.policy.records import Deployment, EnsureJob
from tessera.controller.policy.registry import LEASE, Endpoint, Registry, Role
from tessera.controller.policy.retry import FailureCategory
from tessera.controller.policy.scheduler import Reason
from tessera.controller.services import pages
from tessera.controller.store.ids import Ids
from tessera.rpc.identity import ATTEMPT, SERVICE, Principal

SERVICE_CALLER = Principal(subject="service:parameters", role=SERVICE)


@pytest.mark.parametrize(
    ("run", "reported", "category", "reason"),
    [
        (Run(status=RunStatus.FAILED, exit_code=137), True, "WORKER_LOST", "DRIVER_KILLED"),
        (Run(status=RunStatus.FAILED, exit_code=-9), True, "WORKER_LOST", "DRIVER_KILLED"),
        (Run(status=RunStatus.FAILED, exit_code=1), True, "INTERNAL", "DRIVER_FAILED"),
        (Run(status=RunStatus.FAILED), False, "LAUNCH", "LAUNCH_FAILED"),
        (Run(status=RunStatus.FAILED), True, "WORKER_LOST", "DRIVER_KILLED"),
        (Run(status=RunStatus.STOPPED), True, "WORKER_LOST", "DRIVER_STOPPED"),
        (Run(status=RunStatus.SUCCEEDED, exit_code=0), True, "INTERNAL", "NO_OUTCOME"),
        (Run(status=RunStatus.MISSING), True, "WORKER_LOST", "PLATFORM_RESTARTED"),
        (
            Run(status=RunStatus.FAILED, exit_code=1, message="ray.exceptions.OutOfMemoryError"),
            True,
            "OUT_OF_MEMORY",
            "DRIVER_OUT_OF_MEMORY",
        ),
    ],
)
def test_a_silent_end_is_judged_by_the_pool(run, reported, category, reason):
    outcome = decide(run, cancelling=False, reported=reported)
    assert isinstance(outcome, Fail)
    assert outcome.failure.category is FailureCategory(category)
    assert outcome.failure.reason == reason
    assert decide(run, cancelling=True, reported=reported) == Stop()


def test_the_last_traceback_is_found():
    head = "Traceback (most recent call last):\n"
    log = f"x\n{head}  old\nE: 1\n{head}  a\nValueError: b\n"
    assert last_traceback(log) == f"{head}  a\nValueError: b"
    run = Run(status=RunStatus.FAILED, exit_code=1)
    assert decide(run, cancelling=False, reported=True, log=log).failure.message == "ValueError: b"


def ensure(**fields):
    standard = {
        "key": "parameters",
        "submission_id": "e-1",
        "pool": "p",
        "cluster": "c",
        "generation": "2/0",
        "status": "SUCCEEDED",
        "started": 90.0,
        "ended": 100.0,
    }
    return EnsureJob(**{**standard, **fields})


@pytest.mark.parametrize(
    ("known", "missing", "now", "expected"),
    [
        (None, 0.0, 100.0, True),
        (ensure(status="RUNNING", ended=None), 99.0, 200.0, False),
        (ensure(), 0.0, 500.0, False),
        (ensure(), 10.0, 500.0, False),
        (ensure(), 16.0, 500.0, True),
        (ensure(), 16.0, 105.0, False),
        (ensure(cluster="older"), 0.0, 101.0, True),
        (ensure(generation="3/0"), 0.0, 101.0, True),
        (ensure(status="FAILED", failures=3), 99.0, 105.0, False),
        (ensure(status="FAILED", failures=3), 99.0, 109.0, True),
    ],
)
def test_when_to_make_sure_again(known, missing, now, expected):
    desired = parameters("p", shards=2, data_dir="/d", disk_cap=0)
    assert due(desired, known, cluster="c", missing=missing, now=now) is expected


def test_what_stands_and_how_it_is_asked_for():
    desired = parameters("p", shards=2, data_dir="/d", disk_cap=5)
    assert desired.command == (
        "-m",
        "tessera.parameters",
        "--shards",
        "2",
        "--data-dir",
        "/d",
        "--disk-cap-bytes",
        "5",
    )
    live = [(Role.COORDINATOR, "coordinator"), (Role.SHARD, "shard-1")]
    assert missing_endpoints(desired, live) == [(Role.SHARD, "shard-0")]
    deployment = Deployment(
        tenant="default",
        name="m",
        owner="ada",
        spec="{}",
        generation="g",
        pool="p",
        demand=Demand(workers=2, cpus=1.5, accelerator="H100", count=1.0),
    )
    assert replicas(deployment).command[2:] == (
        "--deployment",
        "m",
        "--replicas",
        "2",
        "--cpus",
        "1.5",
        "--accelerator-type",
        "H100",
        "--accelerator-count",
        "1",
    )


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def endpoint(role=Role.SHARD, name="shard-0", incarnation="i", build="0.1.9", **labels):
    return Endpoint(
        role=role,
        name=name,
        tenant="",
        incarnation=incarnation,
        control_address="h:1",
        build=build,
        labels=labels,
    )


def test_a_lease_runs_out_and_the_endpoint_is_unseen_not_gone():
    clock = Clock()
    registry = Registry("0.1.0", clock)
    registry.register(SERVICE_CALLER, endpoint())
    clock.now = LEASE - 1
    registry.heartbeat(SERVICE_CALLER, Role.SHARD, "shard-0", "i", {"state": "x"})
    clock.now += LEASE - 1
    assert [e.labels for e in registry.resolve(Role.SHARD)] == [{"state": "x"}]
    clock.now += 2
    assert registry.resolve(Role.SHARD) == []
    assert len(registry.resolve(Role.SHARD, include_expired=True)) == 1


def test_a_new_incarnation_replaces_the_old_one():
    registry = Registry("0.1.0")
    registry.register(SERVICE_CALLER, endpoint())
    registry.register(SERVICE_CALLER, endpoint(incarnation="j"))
    with pytest.raises(errors.NotFoundError):
        registry.heartbeat(SERVICE_CALLER, Role.SHARD, "shard-0", "i", {})
    registry.deregister(SERVICE_CALLER, Role.SHARD, "shard-0", "i")
    assert [e.incarnation for e in registry.resolve(Role.SHARD)] == ["j"]


def test_incompatible_builds_are_refused():
    registry = Registry("0.1.0")
    with pytest.raises(errors.FailedPreconditionError) as caught:
        registry.register(SERVICE_CALLER, endpoint(build="0.2.0"))
    assert caught.value.reason == "BUILD_MISMATCH"


@pytest.mark.parametrize(
    ("caller", "asked"),
    [
        (Principal(subject="ada"), endpoint()),
        (SERVICE_CALLER, endpoint(Role.TRAINER, "job-1")),
        (Principal(subject="a", role=ATTEMPT, job="job-2"), endpoint(Role.TRAINER, "job-1")),
        (Principal(subject="a", role=ATTEMPT, job="job-1"), endpoint()),
    ],
)
def test_who_may_register_what(caller, asked):
    with pytest.raises(errors.PermissionDeniedError):
        Registry("0.1.0").register(caller, asked)


def test_names_below_a_slash_and_tenants():
    registry = Registry("0.1.0")
    for tenant, name in [("default", "m/0"), ("default", "m/1"), ("default", "mm/0"), ("x", "m/0")]:
        caller = Principal(subject="s", role=SERVICE, tenant=tenant)
        registry.register(caller, endpoint(Role.REPLICA, name))
    found = registry.resolve(Role.REPLICA, "m/", tenant="default")
    assert [e.name for e in found] == ["m/0", "m/1"]
    assert len(registry.resolve(Role.REPLICA, "m/0")) == 2


def test_how_a_deployment_stands():
    wanted = Deployment(
        tenant="default",
        name="m",
        owner="ada",
        spec="{}",
        generation="g",
        pool="p",
        demand=Demand(workers=2, cpus=1),
    )
    active = endpoint(Role.REPLICA, "m/0", state="active", version="4")
    other = endpoint(Role.REPLICA, "m/1", state="active", version="5")
    empty = endpoint(Role.REPLICA, "m/1", state="empty", message="pulling")
    assert status(wanted, [], None).state is DeploymentState.PENDING
    now = status(wanted, [active, empty], None)
    assert (now.state, now.ready, now.version) == (DeploymentState.READY, 1, 4)
    assert now.message == "1 of 2 replicas serve. pulling"
    assert status(wanted, [active, other], None).version == 0
    failed = ensure(status="FAILED", failures=3, message="no GPU")
    assert status(wanted, [], failed).state is DeploymentState.FAILED
    once = ensure(status="FAILED", failures=1, message="no GPU")
    assert status(wanted, [], once) == Status(state=DeploymentState.PENDING, message="no GPU")


def test_a_deployment_has_failed_when_waiting_is_in_vain():
    wanted = Deployment(
        tenant="default",
        name="m",
        owner="ada",
        spec="{}",
        generation="g",
        pool="p",
        demand=Demand(workers=3, cpus=1),
    )
    active = endpoint(Role.REPLICA, "m/0", state="active", version="4")
    broken = endpoint(Role.REPLICA, "m/1", state="failed", message="version 5: no end")
    empty = endpoint(Role.REPLICA, "m/2", state="empty", message="pulling")

    def stands(*replicas, **changes):
        now = status(replace(wanted, **changes), replicas, None)
        return now.state.value, now.ready, now.failed, now.message

    assert stands(broken) == ("FAILED", 0, 1, "version 5: no end")
    assert stands(broken, empty) == ("PENDING", 0, 1, "version 5: no end")
    text = "1 of 3 replicas serve. version 5: no end"
    assert stands(active, broken, empty) == ("READY", 1, 1, text)
    assert stands(active, broken, deleting=True)[0] == "DELETING"
    for reason, state in (("EXCEEDS_EVERY_POOL", "FAILED"), ("WAITING_FOR_RESOURCES", "PENDING")):
        waiting = (Reason(reason=reason, message="too much"),)
        assert stands(pool="", waiting=waiting) == (state, 0, 0, "too much")


@pytest.mark.parametrize(
    ("code", "hopeless"),
    [(0, False), (None, False), (1, True), (2, True), (EX_TEMPFAIL, False), (137, False),
     (143, False), (-9, False)],
)  # fmt: skip
def test_which_exit_codes_say_that_trying_again_is_in_vain(code, hopeless):
    assert Run(status=RunStatus.FAILED, exit_code=code).hopeless is hopeless
    assert not Run(status=RunStatus.MISSING, exit_code=code).hopeless
    memory = "the node ran low on memory"
    assert not Run(status=RunStatus.FAILED, exit_code=code, message=memory).hopeless
    assert os.EX_TEMPFAIL == EX_TEMPFAIL


def test_ids_grow():
    ids = Ids()
    made = [ids.job() for _ in range(200)]
    assert made == sorted(set(made))


def test_page_tokens_round_trip():
    assert pages.decode(pages.encode("default/m")) == "default/m"
    assert pages.encode("") == ""


def test_filters_parse():
    assert filters.parse("  ") == []
    found = filters.parse("state=job_state_running AND label.a/b=x=y")
    assert [(c.column, c.label, c.value) for c in found] == [
        ("state", "", "RUNNING"),
        ("", "a/b", "x=y"),
    ]


def test_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "t"))
    given = config(
        ["--home", str(tmp_path), "--listen", "127.0.0.1:0", "--pool", "local,http://h:1,h:2"]
    )
    assert given.pools[0].ray_address == "h:2"
    assert given.ray_token == tmp_path / "t"
    assert given.database_url.database == str(tmp_path / "controller.db")
    for wrong in (["--listen", "nowhere"], ["--pool", "x"], ["--shards", "-1"]):
        with pytest.raises(SystemExit) as caught:
            config(["--home", str(tmp_path), *wrong])
        assert caught.value.code == 2
        assert "Traceback" not in capsys.readouterr().err
    assert "--pool" in parser().format_help()
