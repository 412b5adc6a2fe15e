"""TPU slices: what names count, what topologies there are, and how many hosts they have."""

from __future__ import annotations

import pytest

from tessera import errors
from tessera.controller.scheduling import tpu


@pytest.mark.parametrize(
    ("name", "topology", "per_host", "hosts"),
    [
        ("v4", "2x2x2", 4, 2),
        ("v4", "2x2x1", 4, 1),
        ("v5e", "2x4", 8, 1),
        ("v5e", "2x4", 4, 2),
        ("v5litepod", "16x16", 4, 64),
        ("v5p", "4x4x4", 4, 16),
        ("v6e", "4x4", 4, 4),
        ("TPU-V6E", "1x1", 1, 1),
        ("tpu7x", "2x2x1", 4, 1),
        ("tpu7x", "1x1x1", 1, 1),
    ],
)
def test_hosts_of_a_slice(name, topology, per_host, hosts):
    assert tpu.hosts_of(name, topology, per_host) == hosts


@pytest.mark.parametrize(
    ("name", "topology", "per_host", "message"),
    [
        ("v4", "2x4", 4, "a v4 slice has 3 sides"),
        ("v6e", "2x2x2", 4, "a v6e slice has 2 sides"),
        ("v5p", "2x2x2", 8, "a v5p host has 4 chips, not 8"),
        ("v6e", "3x3", 4, "9 chips are no whole number of hosts of 4"),
        ("v6e", "2x2", 1, "hosts of one chip are slices of their own"),
        ("v6e", "4by4", 4, "'4by4' is no topology"),
        ("v9", "4x4", 4, "'v9' is no TPU generation; there are v4, v5e, v5p, v6e, tpu7x"),
    ],
)
def test_what_is_no_slice(name, topology, per_host, message):
    with pytest.raises(errors.InvalidArgumentError, match=message):
        tpu.hosts_of(name, topology, per_host)


@pytest.mark.parametrize(
    ("name", "chips"),
    [("v5p-8", 4), ("v4-16", 8), ("tpu7x-8", 4), ("v5e-8", 8), ("v5litepod-16", 16), ("v6e-4", 4)],
)
def test_the_suffix_counts_cores_or_chips(name, chips):
    assert tpu.chips_of_type(name) == chips


@pytest.mark.parametrize("name", ["v5p-7", "v5p", "v6e-0", "v6e-x"])
def test_names_that_are_none(name):
    with pytest.raises(errors.InvalidArgumentError):
        tpu.chips_of_type(name)


def test_workers_are_those_of_whole_slices():
    assert tpu.check_workers("v6e", "4x4", 8, 4) == 2
    with pytest.raises(
        errors.InvalidArgumentError, match="4 workers, or for a multiple, not for 6"
    ):
        tpu.check_workers("v6e", "4x4", 6, 4)
