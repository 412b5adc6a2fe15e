"""Addresses, also of IPv6: written, read, listened on and called."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera.local import network
from tessera.rpc.address import join, split

HOSTS = st.ip_addresses().map(str) | st.from_regex(r"[a-z][a-z0-9.-]{0,30}", fullmatch=True)


@given(HOSTS, st.integers(0, 65535))
def test_round_trip(host, port):
    address = join(host, port)
    assert split(address) == (host, port)
    assert address.startswith("[") == (":" in host)


@pytest.mark.parametrize("text", ["", ":1", "h", "h:", "h:x", "::1:80", "[]:1", "h:-1", "h:²"])
def test_what_is_none(text):
    with pytest.raises(ValueError, match="HOST:PORT"):
        split(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_ports_of_either_kind(host):
    port = network.free_port(host)
    assert network.is_free(host, port)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family):
        assert network.listens(join(host, port))
        assert not network.is_free(host, port)
    assert network.address_towards(join(host, port)) == host
    assert not network.listens(join(host, port))
    assert not network.listens("nonsense")
