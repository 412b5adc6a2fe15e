"""The threaded server for bulk data: tokens and errors as on the asyncio one."""

from __future__ import annotations

import pytest

from tessera import errors
from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.api.parameters.v1 import shard_pb2_grpc as pb_grpc
from tessera.rpc.channel import bearer, data_channel, mapped_errors
from tessera.rpc.data_server import DataServer
from tessera.rpc.door import Door
from tessera.rpc.identity import Issuer, Verifier
from tessera.rpc.principal import Principal, Role

NAME = pb.DESCRIPTOR.services_by_name["ShardDataService"].full_name
BOOT = f"{0:08x}-0000-0000-0000-{0:012x}"
TARGET = pb.PushTarget(set="t/s", grant="g")


class Service(pb_grpc.ShardDataServiceServicer):
    def PushSlices(self, request_iterator, context):
        assert next(request_iterator).target == TARGET
        later = [pb.PushSlicesRequest.FromString(raw) for raw in request_iterator]
        size = sum(len(request.data) for request in later)
        if size == 0:
            raise errors.DataLossError("nothing came", reason="CHECKSUM")
        return pb.PushSlicesResponse(size=size)

    def PullSlices(self, request, context):
        yield pb.PullSlicesResponse(data=b"ab")
        if request.version == 0:
            raise errors.NotFoundError("no version 0", reason="VERSION_NOT_FOUND")
        if request.version == 13:
            raise ZeroDivisionError

    def OpenPieces(self, request, context):
        if request.version == 0:
            raise errors.FailedPreconditionError("not here", reason="OTHER_HOST")
        return pb.OpenPiecesResponse(path=request.set)


@pytest.fixture(scope="module")
def issuer():
    return Issuer(Issuer.generate_key())


@pytest.fixture(scope="module")
def stub(issuer):
    register = lambda server: pb_grpc.add_ShardDataServiceServicer_to_server(Service(), server)  # noqa: E731
    server = DataServer(Door(Verifier([issuer.public_key()])), NAME, register)
    with data_channel(f"127.0.0.1:{server.start()}") as channel:
        yield pb_grpc.ShardDataServiceStub(channel)
    server.stop(0)


@pytest.fixture
def metadata(issuer):
    return bearer(
        issuer.issue(
            Principal(subject="rank", role=Role.ATTEMPT, writes="t/s", reads=("t/s",), tenant="t")
        )
    )


def pushes(*chunks):
    first = pb.PushSlicesRequest(target=TARGET)
    return iter([first, *(pb.PushSlicesRequest(data=chunk) for chunk in chunks)])


def test_a_push_arrives(stub, metadata):
    reply = stub.PushSlices(pushes(b"abc", b"de"), metadata=metadata, timeout=5)
    assert reply.size == 5


def test_a_push_that_fails_says_why(stub, metadata):
    with pytest.raises(errors.DataLossError) as caught, mapped_errors():
        stub.PushSlices(pushes(), metadata=metadata, timeout=5)
    assert caught.value.reason == "CHECKSUM"


def test_a_pull_streams_then_fails_with_the_reason(stub, metadata):
    received = []
    with pytest.raises(errors.NotFoundError) as caught, mapped_errors():
        for part in stub.PullSlices(pb.PullSlicesRequest(set="t/s"), metadata=metadata, timeout=5):
            received.append(part.data)
    assert received == [b"ab"]
    assert caught.value.reason == "VERSION_NOT_FOUND"


def test_a_defect_is_bland(stub, metadata):
    request = pb.PullSlicesRequest(set="t/s", version=13)
    with pytest.raises(errors.InternalError) as caught, mapped_errors():
        list(stub.PullSlices(request, metadata=metadata, timeout=5))
    assert "ZeroDivision" not in caught.value.message


def test_no_token_is_unauthenticated_on_both_shapes(stub):
    with pytest.raises(errors.UnauthenticatedError), mapped_errors():
        stub.PushSlices(pushes(b"abc"), timeout=5)
    with pytest.raises(errors.UnauthenticatedError), mapped_errors():
        list(stub.PullSlices(pb.PullSlicesRequest(set="t/s"), timeout=5))


def test_one_answer(stub, metadata):
    request = pb.OpenPiecesRequest(set="t/s", version=1, pieces=["p"], boot_id=BOOT)
    assert stub.OpenPieces(request, metadata=metadata, timeout=5).path == "t/s"
    request.version = 0
    with pytest.raises(errors.FailedPreconditionError) as caught, mapped_errors():
        stub.OpenPieces(request, metadata=metadata, timeout=5)
    assert caught.value.reason == "OTHER_HOST"
    with pytest.raises(errors.UnauthenticatedError), mapped_errors():
        stub.OpenPieces(request, timeout=5)
