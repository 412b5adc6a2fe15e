"""The address by which a machine's processes reach one another, on machines of several kinds."""

from __future__ import annotations

import subprocess
import sys

import pytest
from namespaces import IPV6_OUTSIDE, LO_UP, NO_IPV4, hosts, within

pytestmark = pytest.mark.processes

OLD, NEW = "127.0.0.1 localhost", "::1 localhost"
ASK = """
from tessera import errors
from tessera.local import network
try:
    print(network.loopback())
except errors.FailedPreconditionError as error:
    print(error.reason)
"""


@pytest.mark.parametrize(
    ("scripts", "expected"),
    [
        ((LO_UP, hosts(OLD)), "127.0.0.1"),
        ((LO_UP, hosts(OLD, NEW)), "127.0.0.1"),
        ((LO_UP, IPV6_OUTSIDE, hosts(OLD, NEW)), "::1"),
        ((NO_IPV4, IPV6_OUTSIDE, hosts(OLD, NEW)), "::1"),
        ((NO_IPV4, IPV6_OUTSIDE, hosts(NEW)), "::1"),
        ((NO_IPV4, IPV6_OUTSIDE, hosts(OLD)), "NO_LOOPBACK"),
        ((NO_IPV4, hosts(NEW)), "NO_LOOPBACK"),
        ((hosts(OLD, NEW),), "NO_LOOPBACK"),
    ],
    ids=["alone", "both", "outside", "new", "new-only-name", "old-name", "new-alone", "down"],
)
def test_which_address_ray_takes(scripts, expected):
    """Each as Ray's own `get_localhost_ip` tells it; or refused, where nothing listens there."""
    ray = "from ray._common.network_utils import get_localhost_ip; print(get_localhost_ip())"
    ours, theirs = (
        subprocess.run(
            within(*scripts, command=[sys.executable, "-c", code]),
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for code in (ASK, ray)
    )
    assert ours == expected
    assert theirs == ("127.0.0.1" if expected == "NO_LOOPBACK" else expected)
