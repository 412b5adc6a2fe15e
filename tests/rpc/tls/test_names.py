"""Names of workloads: valid in DNS, and of one workload each."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera.rpc.principal import Principal, Role
from tessera.rpc.tls import names

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
TEXTS = st.one_of(
    st.text(max_size=300),
    st.text("ab-./A*", max_size=8),
    st.from_regex(names.HASHED + r"[0-9a-f]{32}", fullmatch=True),
)
WHOLE = st.tuples(st.sampled_from(Role), TEXTS, TEXTS)


@given(WHOLE)
def test_every_name_is_one_of_dns(whole):
    made = names.server_name(*whole)
    assert len(made) <= names.LONGEST
    assert all(LABEL.fullmatch(label) for label in made.split("."))
    assert made.endswith(f".{whole[0].value}.{names.SUFFIX}")


@given(WHOLE, WHOLE)
def test_what_differs_has_another_name(one, other):
    assert (names.server_name(*one) == names.server_name(*other)) == (one == other)


@given(WHOLE)
def test_a_name_cannot_be_asked_for_by_being_called_like_it(whole):
    made = names.server_name(*whole)
    for label in made.split("."):
        assert names.server_name(whole[0], whole[1], label) != made or label == whole[2]


def test_what_fits_can_be_read():
    assert names.attempt_name("acme", "job-1", 2) == "2.job-1.acme.attempt.tessera.internal"
    assert names.replica_name("acme", "chat") == "chat.acme.replica.tessera.internal"
    assert names.shard_server_name("shard-0").startswith("shard-0.sha256-")


@pytest.mark.parametrize(
    ("who", "name"),
    [
        (
            Principal(subject="x", role=Role.ATTEMPT, tenant="a", job="j", attempt=3),
            names.attempt_name("a", "j", 3),
        ),
        (
            Principal(subject="x", role=Role.REPLICA, tenant="a", deployment="d"),
            names.replica_name("a", "d"),
        ),
        (
            Principal(subject="shard-1", role=Role.SHARD, tenant="whatever"),
            names.shard_server_name("shard-1"),
        ),
        (
            Principal(subject="coordinator", role=Role.COORDINATOR, tenant=""),
            names.coordinator_name(),
        ),
    ],
)
def test_callers_expect_what_the_principal_is_called(who, name):
    assert names.name_of(who) == name


def test_a_person_is_called_like_no_workload():
    for role in (Role.VIEWER, Role.OPERATOR):
        person = names.name_of(Principal(subject="shard-0", role=role, tenant=""))
        assert person != names.shard_server_name("shard-0")
