"""What goes wrong with a handshake: one line each, at once, with what to do."""

from __future__ import annotations

import socket
import time

import pytest
from tls_servers import KINDS, ask, authority

from tessera import errors
from tessera.client.connection import Connection
from tessera.client.home import Access
from tessera.rpc.tls import failure, probe
from tessera.rpc.tls.identity import Listener, Tls

SECONDS = 3.0
"""An answer comes long before patience is over."""


@pytest.fixture(scope="module")
def ours():
    return authority()


@pytest.fixture(params=KINDS)
def serve(request):
    return KINDS[request.param]


def listener(identity) -> Listener:
    return Listener(lambda: identity, mutual=False)


def wrong(ours):
    """What a server shows, whom the caller believes, and the reason that it is told."""
    here = ["127.0.0.1"]
    return {
        failure.WRONG_NAME: (ours.identity(["other.example"], seconds=60), ours.certificate),
        failure.UNKNOWN_AUTHORITY: (ours.identity(here, seconds=60), authority().certificate),
        failure.EXPIRED: (ours.identity(here, seconds=-60), ours.certificate),
    }


REASONS = [failure.WRONG_NAME, failure.UNKNOWN_AUTHORITY, failure.EXPIRED]


def test_one_that_only_calls_may_not_be_called(ours, serve):
    person = ours.identity(["127.0.0.1"], seconds=60, server=False)
    with serve(listener(person)) as address:
        for call in (ask, lambda address, tls: probe.check(address, tls.controller_roots)):
            with pytest.raises(errors.UnavailableError) as caught:
                call(address, Tls(ours.certificate))
            assert caught.value.reason == failure.WRONG_NAME


@pytest.mark.measures
@pytest.mark.parametrize("reason", REASONS)
def test_what_grpc_says_is_told_in_a_line(ours, serve, reason):
    shown, believed = wrong(ours)[reason]
    with serve(listener(shown)) as address:
        begin = time.monotonic()
        with pytest.raises(errors.UnavailableError) as caught:
            ask(address, Tls(believed))
        assert time.monotonic() - begin < SECONDS
    told(caught.value, reason, address)


@pytest.mark.measures
@pytest.mark.parametrize("reason", REASONS)
def test_a_client_is_told_before_it_calls(ours, serve, reason, capfd):
    shown, believed = wrong(ours)[reason]
    with serve(listener(shown)) as address:
        capfd.readouterr()
        begin = time.monotonic()
        with pytest.raises(errors.UnavailableError) as caught:
            called(address, believed)
        assert time.monotonic() - begin < SECONDS
    told(caught.value, reason, address)


def test_the_reverse_is_told_too(ours, serve):
    with serve(None) as address:
        with pytest.raises(errors.UnavailableError) as caught:
            called(address, ours.certificate)
        told(caught.value, failure.NOT_OFFERED, address)
        with pytest.raises(errors.UnavailableError) as caught:
            ask(address, Tls(ours.certificate))
        told(caught.value, failure.NOT_OFFERED, address)


@pytest.mark.measures
def test_a_call_in_clear_where_tls_is_spoken(ours, serve):
    with serve(listener(ours.identity(["127.0.0.1"], seconds=60))) as address:
        begin = time.monotonic()
        with pytest.raises(errors.UnavailableError) as caught:
            called(address, b"")
        assert time.monotonic() - begin < SECONDS
    told(caught.value, failure.EXPECTED, address)


def test_a_server_that_is_not_there_is_no_matter_of_tls(ours):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        probe.check(address, ours.certificate)
        for roots in (ours.certificate, b""):
            with pytest.raises(errors.UnavailableError) as caught:
                called(address, roots, patience=0.2)
            assert caught.value.reason == "CONTROLLER_UNREACHABLE"


@pytest.mark.measures
@pytest.mark.waits
def test_a_server_that_says_nothing_holds_nobody_up(ours, monkeypatch):
    monkeypatch.setattr(probe, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        begin = time.monotonic()
        probe.check(address, ours.certificate)
        assert not probe.speaks_tls(address)
        assert time.monotonic() - begin < SECONDS


@pytest.mark.parametrize("text", ["Connection refused", "Socket closed", "", "Deadline Exceeded"])
def test_other_failures_are_left_alone(text):
    assert not failure.reason_of(text)


def called(address: str, roots: bytes, *, patience: float = 60.0) -> None:
    """As the command line calls a controller."""
    connection = Connection(Access(address=address, token="", roots=roots), patience=patience)
    check = connection.channel.unary_unary("/grpc.health.v1.Health/Check")
    try:
        connection.call(check, b"")
    finally:
        connection.close()


def told(error: errors.TesseraError, reason: str, address: str) -> None:
    assert error.reason == reason
    assert address in error.message
    assert "\n" not in error.message
