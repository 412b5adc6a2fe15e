"""Calls that are under way, with a real server and real signals."""

import signal
import threading
from concurrent import futures

import grpc
import pytest

from tessera import errors
from tessera.rpc.calls import Calls, under_way

METHOD = "/tests.Endless/Wait"


class Endless(grpc.GenericRpcHandler):
    """One method that answers when its call is cancelled."""

    def __init__(self):
        self.ended = threading.Event()

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(self.wait)

    def wait(self, request, context):
        context.add_callback(self.ended.set)
        self.ended.wait(20)
        return b""


@pytest.fixture
def endless():
    handler = Endless()
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    handler.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    yield handler
    server.stop(None).wait()


def test_a_call_ends_with_its_block(endless):
    with under_way(lambda: endless.channel.unary_unary(METHOD).future(b"")) as call:
        assert call.running()
    assert call.cancelled()
    endless.channel.close()


@pytest.fixture
def ctrl_c():
    """Python's own handler, whatever tests of commands have left."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_a_call_is_begun_whole_before_ctrl_c_is_heard(endless):
    calls = []

    def begin():
        signal.raise_signal(signal.SIGINT)
        calls.append(endless.channel.unary_unary(METHOD).future(b""))
        return calls[0]

    with pytest.raises(KeyboardInterrupt), under_way(begin):
        pytest.fail("Ctrl-C comes before the answer")
    assert calls[0].cancelled()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    endless.channel.close()


def test_a_call_that_cannot_begin(endless):
    def begin():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), under_way(begin):
        pytest.fail("there is no call")


def test_threads_have_no_signals(endless):
    def ask():
        with under_way(lambda: endless.channel.unary_unary(METHOD).future(b"")) as call:
            return call.running()

    with futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(ask).result(20)
    endless.channel.close()


def test_calls_of_several_threads_end_together(endless):
    calls, begun = Calls(), threading.Barrier(3)

    def ask():
        with calls.under_way(lambda: endless.channel.unary_unary(METHOD).future(b"")) as call:
            begun.wait(20)
            with pytest.raises(grpc.FutureCancelledError):
                call.result()

    with futures.ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(ask) for _ in range(2)]
        begun.wait(20)
        calls.end()
        for each in asked:
            each.result(20)
    # So do those to come, though nothing else would end this one.
    endless.ended = threading.Event()
    with calls.under_way(lambda: endless.channel.unary_unary(METHOD).future(b"")) as call:
        assert call.cancelled()
    assert calls.ended
    endless.channel.close()


def test_a_pause_ends_with_the_calls():
    calls = Calls()
    calls.pause(0)
    calls.end()
    with pytest.raises(errors.CancelledError):
        calls.pause(60)
