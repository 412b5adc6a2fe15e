"""Who did what to what is kept, refusals too, and nobody changes it."""

from __future__ import annotations

import contextlib
import json
import re
from datetime import timedelta

import pytest
from in_process import InProcessPlatform

from tessera import errors
from tessera.api.controller.v1.spec_pb2 import DataSpec, JobSpec, ModelSpec
from tessera.client import Client
from tessera.rpc.audit import changes
from tessera.rpc.policy.table import TABLE
from tessera.rpc.principal import Role

SPEC = JobSpec(name="j", model=ModelSpec(family="gpt"), data=DataSpec(files=["stdlib://**/*.py"]))


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    with InProcessPlatform(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture
def as_(platform):
    made = []

    def client(subject, role, tenant="default"):
        token = platform.issue(subject=subject, role=Role(role), tenant=tenant)
        made.append(Client(platform.address, token))
        return made[-1]

    yield client
    for one in made:
        one.close()


def test_what_is_done_and_what_is_refused(as_):
    ada = as_("ada", "submitter")
    job = ada.jobs.create(SPEC)
    list(ada.jobs.list())
    ada.jobs.cancel(job.id)
    with pytest.raises(errors.PermissionDeniedError):
        as_("vic", "viewer").jobs.cancel(job.id)
    eve = as_("eve", "operator").access
    with pytest.raises(errors.NotFoundError):
        eve.revoke_token("0" * 16)
    eve.create_tenant("shop")
    with pytest.raises(errors.PermissionDeniedError):
        as_("mal", "admin", "shop").access.revoke_token("0" * 16, "default")
    rows = [
        (entry.subject, entry.role, entry.method, entry.resource, entry.outcome)
        for entry in as_("boss", "admin").access.audit()
    ]
    assert rows == [
        ("eve", "operator", "CreateTenant", "shop", "OK"),
        ("eve", "operator", "RevokeToken", "0" * 16, "TOKEN_NOT_FOUND"),
        ("vic", "viewer", "CancelJob", "", "ROLE_DENIED"),
        ("ada", "submitter", "CancelJob", job.id, "OK"),
        ("ada", "submitter", "CreateJob", "j", "OK"),
    ]
    (other,) = as_("root", "operator").access.audit("shop")
    assert (other.subject, other.method, other.outcome) == ("mal", "RevokeToken", "OTHER_TENANT")


def test_pages_follow_one_another(as_):
    boss = as_("boss", "admin", "pages").access
    for _ in range(7):
        with contextlib.suppress(errors.NotFoundError):
            boss.revoke_token("0" * 16)
    assert len(list(boss.audit(limit=5))) == 5
    times = [entry.time.ToNanoseconds() for entry in boss.audit()]
    assert len(times) == 7
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("role", ["viewer", "submitter"])
def test_it_is_for_admins(as_, role):
    with pytest.raises(errors.PermissionDeniedError):
        list(as_("x", role).access.audit())


def test_every_method_that_changes_something_is_kept():
    kept = {
        path.rpartition("/")[2]
        for path, rule in TABLE.items()
        if rule.of_people and changes(path) and "controller" in path
    }
    assert kept >= {
        "CreateJob", "CancelJob", "CheckpointJob", "CreateDeployment", "DeleteDeployment",
        "RegisterPool", "CreateTenant", "CreateToken", "RevokeToken", "RotateKeys",
    }  # fmt: skip
    assert not any(name.startswith(("Get", "List", "Watch", "Stream", "Stat")) for name in kept)


def test_nothing_secret_is_kept(platform, as_):
    secret, _ = as_("boss", "admin").access.create_token("ci", "viewer", timedelta(hours=1))
    told = json.dumps([str(entry) for entry in as_("boss", "admin").access.audit()])
    assert "ci" in told
    assert not re.search(re.escape(secret), told)
