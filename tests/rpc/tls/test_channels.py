"""Connections over TLS: who is believed, who is asked, and what outlives a certificate."""

from __future__ import annotations

import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tls_servers import KINDS, ask, authority, bearing, check, of_asyncio, of_threads

from tessera.rpc.address import split
from tessera.rpc.channel import aio_channel, channel, data_channel
from tessera.rpc.tls.identity import SPENT, Listener, Tls, listener_of

NAME = "shard-0.example"


@pytest.fixture(scope="module")
def ours():
    return authority()


@pytest.fixture(params=KINDS)
def serve(request):
    return KINDS[request.param]


def mutual(identity) -> Listener:
    return Listener(lambda: identity)


def test_both_ends_prove_themselves(ours, serve):
    server, caller = (ours.identity([name], seconds=60) for name in (NAME, "caller.example"))
    with serve(mutual(server)) as address:
        ask(address, bearing(caller), NAME)
        with data_channel(address, bearing(caller), NAME) as connection:
            check(connection)


def test_without_mutual_nobody_is_asked_for_a_certificate(ours, serve):
    server = ours.identity(["localhost", "127.0.0.1"], seconds=60)
    with serve(Listener(lambda: server, mutual=False)) as address:
        ask(address, Tls(ours.certificate))


async def test_channels_of_asyncio(ours):
    server, caller = (ours.identity([name], seconds=60) for name in (NAME, "caller.example"))
    with of_asyncio(mutual(server)) as address:
        async with aio_channel(address, bearing(caller), NAME) as connection:
            stub = health_pb2_grpc.HealthStub(connection)
            await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
            watch = stub.Watch(health_pb2.HealthCheckRequest())
            assert (await anext(aiter(watch))).status == health_pb2.HealthCheckResponse.SERVING
            await connection.channel_ready()
            assert connection.get_state() is grpc.ChannelConnectivity.READY


def test_a_server_shows_its_next_certificate_without_a_restart(ours, serve):
    shown = ours.identity([NAME], seconds=60)
    caller = bearing(ours.identity(["caller.example"], seconds=60))
    with serve(Listener(lambda: shown)) as address:
        ask(address, caller, NAME)
        shown = ours.identity(["another.example"], seconds=60)
        ask(address, caller, "another.example")


def test_a_server_that_cannot_get_its_next_certificate_keeps_the_last(ours, serve):
    shown, broken = ours.identity([NAME], seconds=60), False

    def identity():
        if broken:
            raise OSError("no")
        return shown

    with serve(Listener(identity)) as address:
        broken = True
        ask(address, bearing(ours.identity(["caller.example"], seconds=60)), NAME)


@pytest.mark.waits
def test_a_channel_outlives_the_certificate_that_it_began_with(ours):
    """The server hangs up on a certificate that has expired, so a new connection needs the next."""
    server = ours.identity([NAME], seconds=600)
    made = []

    def obtain():
        made.append(ours.identity(["caller.example"], seconds=1.0))
        return made[-1]

    tls = Tls(ours.certificate, obtain)
    with of_threads(mutual(server)) as address:
        connection = channel(address, tls, NAME)
        check(connection)
    time.sleep(1.1)
    with of_threads(mutual(server), split(address)[1]), connection:
        check(connection)
        assert len(made) == 2
        with pytest.raises(grpc.RpcError), channel(address, _Frozen(made[0]), NAME) as old:
            check(old)


class _Frozen(Tls):
    """Goes on to show what has expired."""

    def __init__(self, identity):
        super().__init__(identity.roots, lambda: identity)
        self._frozen = identity

    @property
    def identity(self):
        return self._frozen


def test_a_stream_goes_on_when_the_certificate_is_renewed(ours):
    server = ours.identity([NAME], seconds=600)
    tls = bearing(ours.identity(["caller.example"], seconds=600))
    with of_threads(mutual(server)) as address, channel(address, tls, NAME) as connection:
        stub = health_pb2_grpc.HealthStub(connection)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=""))
        first = next(watch)
        _ = tls.identity
        tls.adopt(ours.identity(["caller.example"], seconds=600))
        check(connection)
        assert first.status == health_pb2.HealthCheckResponse.SERVING
        assert watch.is_active()
        watch.cancel()


async def test_a_channel_of_asyncio_outlives_it_too(ours):
    server = ours.identity([NAME], seconds=600)
    tls = bearing(ours.identity(["caller.example"], seconds=600))
    with of_asyncio(mutual(server)) as address:
        async with aio_channel(address, tls, NAME) as connection:
            stub = health_pb2_grpc.HealthStub(connection)
            await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
            watch = stub.Watch(health_pb2.HealthCheckRequest())
            answers = aiter(watch)
            await anext(answers)
            before = connection._channels.now
            tls.adopt(ours.identity(["caller.example"], seconds=600))
            await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert connection._channels.now is not before
            assert not watch.done()


def test_an_identity_is_obtained_once_and_again_when_it_is_spent(ours):
    made = []

    def obtain():
        made.append(ours.identity(["x.example"], seconds=100))
        return made[-1]

    tls = Tls(ours.certificate, obtain)
    assert not tls.used
    assert tls.identity is tls.identity is tls.last
    assert len(made) == 1
    old = made[0]
    object.__setattr__(old, "made", old.made - SPENT * old.seconds - 1)
    # A handshake does not wait for the next one.
    assert tls.last is old
    assert tls.identity is made[1]


def test_nobody_waits_where_the_owner_renews(ours):
    tls = Tls(ours.certificate, lambda: ours.identity(["x.example"], seconds=0), renews=False)
    first = tls.identity
    assert first.spent
    assert tls.identity is first
    following = ours.identity(["x.example"], seconds=60)
    tls.adopt(following)
    assert tls.identity is following


def test_without_tls_a_server_listens_in_clear(serve):
    assert listener_of(None) is None
    with serve(None) as address:
        ask(address, None)
