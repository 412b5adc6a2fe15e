"""What an operator may set: every field, its bounds, and what it is by default."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.rpc.limits import CallLimits
from tessera.rpc.platform_limits import PlatformLimits, TenantLimits, WeightLimits
from tessera.spec.configuration import NOTHING, dump, parse_configuration


def numbers(kind, path=()):
    """Path, default and bounds of every number below a dataclass."""
    made = kind()
    for field in dataclasses.fields(made):
        value = getattr(made, field.name)
        if dataclasses.is_dataclass(value):
            yield from numbers(lambda value=value: value, (*path, field.name))
        elif not isinstance(value, Mapping):
            yield (*path, field.name), value, field.metadata


NUMBERS = list(numbers(PlatformLimits))


def nested(path, value):
    for name in reversed(path):
        value = {name: value}
    return value


def at(limits, path):
    for name in path:
        limits = getattr(limits, name)
    return limits


def read(tree):
    return parse_configuration(repr(tree).replace("'", '"'), "f", PlatformLimits)


def test_every_number_has_bounds_that_its_default_keeps():
    assert len(NUMBERS) > 25
    for path, value, metadata in NUMBERS:
        assert {"least", "most"} <= metadata.keys(), path
        assert value is None or metadata["least"] <= value <= metadata["most"], path


def test_nothing_said_is_the_default_and_takes_no_words():
    assert read({}) == PlatformLimits()
    assert dump(PlatformLimits()) == NOTHING


@settings(deadline=None)
@given(st.sampled_from(NUMBERS), st.data())
def test_one_number_changes_nothing_else_and_reaches_a_process_by_its_argument(row, data):
    path, default, metadata = row
    whole = isinstance(default, int) or default is None
    draw = st.integers if whole else st.floats
    value = data.draw(draw(metadata["least"], metadata["most"]))
    limits = read(nested(path, value))
    assert at(limits, path) == value
    for other, kept, _ in NUMBERS:
        assert other == path or at(limits, other) == kept
    assert parse_configuration(dump(limits), "--limits", PlatformLimits) == limits


@pytest.mark.parametrize("row", NUMBERS, ids=lambda row: ".".join(row[0]))
def test_what_is_out_of_range_is_told_by_its_field(row):
    path, _, metadata = row
    for value in (metadata["least"] - 1, metadata["most"] + 1, "many"):
        with pytest.raises(errors.InvalidArgumentError) as caught:
            read(nested(path, value))
        assert f"`{'.'.join(path)}` must be " in caught.value.message
        assert caught.value.violations[0].field == ".".join(path)


TENANTS = st.dictionaries(
    st.from_regex(r"\A[a-z][a-z0-9]{0,5}\Z"),
    st.builds(
        TenantLimits,
        jobs=st.integers(1, 100),
        blob_bytes=st.integers(1, 1 << 40),
        weights=st.builds(
            WeightLimits, bytes=st.none() | st.integers(1, 9), pins=st.integers(1, 9)
        ),
    ),
    max_size=4,
)


@settings(deadline=None)
@given(TENANTS, st.integers(1, 50))
def test_tenants_go_by_the_common_values_where_they_say_nothing(tenants, watches):
    common = TenantLimits(watches=watches)
    limits = PlatformLimits(
        tenant=common,
        tenants={name: dataclasses.replace(one, watches=watches) for name, one in tenants.items()},
    )
    assert limits.of("somebody-else") == common
    for name, one in tenants.items():
        assert limits.of(name).jobs == one.jobs
        assert limits.of(name).watches == watches
    again = parse_configuration(dump(limits), "--limits", PlatformLimits)
    assert again == limits
    some = read({"tenants": {"a": {"jobs": 7}}})
    assert some.of("a") == TenantLimits(jobs=7)


def test_a_tenant_whose_name_is_none():
    with pytest.raises(errors.InvalidArgumentError) as caught:
        read({"tenants": {"Shop": {}}})
    assert "`tenants[Shop]` is no name of a tenant" in caught.value.message


def test_what_servers_are_told_is_no_more_than_what_is_theirs():
    limits = PlatformLimits(
        servers=CallLimits(calls=99), tenants={"secret-name": TenantLimits(jobs=1)}
    )
    assert dump(PlatformLimits(servers=limits.servers)) == '{"servers": {"calls": 99}}'
