"""Readers on a shard's host copy out of its files; whatever hinders that, gRPC has the bytes."""

from __future__ import annotations

import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import versions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lane_reading import SHAPES, all_of, arrays, fetch, opened, same

from tessera import errors
from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.api.parameters.v1 import shard_pb2_grpc as pb_grpc
from tessera.rpc.channel import bearer, data_channel, mapped_errors
from tessera.rpc.principal import Role
from tessera.weights import descriptors, handed_piece, handed_transfer, lane
from tessera.weights.box import Box
from tessera.weights.descriptors import SocketAddress

REASONS = {"flip": "CHECKSUM_MISMATCH", "truncate": "SHORT_FILE", "delete": "PIECE_LOST"}


@pytest.fixture(autouse=True)
def every_size(monkeypatch):
    """Also what is faster over gRPC takes the lane."""
    monkeypatch.setattr(lane, "LEAST_BYTES", 0)


@pytest.fixture(scope="module")
def served(platform, tmp_path_factory):
    """A version that stays: its writer, its manifest, its arrays, and the folder of the shards."""
    folder = tmp_path_factory.mktemp("served")
    platform.start_parameters(folder)
    writer, content = versions.Writer(platform, ranks=3), arrays()
    writer.commit(versions.content(content), {})
    yield writer, writer.client.get_manifest(writer.set), content, folder
    writer.client.close()
    platform.stop_parameters()


@st.composite
def boxes(draw):
    """A box of a tensor, or of a view of one."""
    name = draw(st.sampled_from([*SHAPES]))
    shape, view = SHAPES[name], None
    if shape and draw(st.booleans()):
        parts = draw(st.sampled_from([part for part in (2, 3, 5) if shape[0] % part == 0]))
        shape = view = (parts, shape[0] // parts, *shape[1:])
    low = [draw(st.integers(0, extent - 1)) for extent in shape]
    size = [draw(st.integers(1, extent - at)) for at, extent in zip(low, shape, strict=True)]
    if draw(st.booleans()):
        low, size = [0] * len(shape), list(shape)
    return name, view, Box(tuple(low), tuple(size))


@settings(max_examples=150, deadline=None, suppress_health_check=[*HealthCheck])
@given(wanted=st.lists(boxes(), min_size=1, max_size=4), window=st.sampled_from([None, 4096]))
def test_any_box_is_bit_for_bit_what_was_written(served, left, wanted, window):
    """Whole blocks and parts of them, runs and what lies apart, mapped and read."""
    writer, manifest, content, _ = served
    left.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handed_transfer, "SPAN_BYTES", 64 * 1024)
        patch.setattr(handed_piece, "LEAST_MAPPED", window or 256 * 1024)
        patch.setattr(handed_piece, "WINDOW_BYTES", window or 2**21)
        found = fetch(manifest, writer.token, wanted)
    for (name, view, box), data in zip(wanted, found, strict=True):
        assert data == content[name].reshape(view or SHAPES[name])[box.slices].tobytes()
    assert set(left) == {0}, "all of it came by the lane"


def test_where_nothing_can_be_locked_it_is_read(served, left, monkeypatch):
    writer, manifest, content, _ = served
    monkeypatch.setattr(handed_piece, "_LIBRARY", type("", (), {"mlock": lambda *_: -1}))
    same(all_of(manifest, writer.token), content)
    assert set(left) == {0}


def test_pieces_come_in_as_many_tickets_as_they_need(served, left, monkeypatch):
    writer, manifest, content, _ = served
    monkeypatch.setattr(descriptors, "MOST", 2)
    same(all_of(manifest, writer.token), content)
    assert set(left) == {0}


# --- what is damaged ---


@contextmanager
def harmed(folder: Path, source, kind: str):
    """A piece with a fault in the middle of one of its slices, and whole again afterwards."""
    path = next(folder.rglob(f"{source.piece}.bin"))
    good, place = path.read_bytes(), source.offset + source.size // 2
    with path.open("r+b") as file:
        if kind == "truncate":
            file.truncate(place)
        elif kind == "flip":
            file.seek(place)
            file.write(bytes([good[place] ^ 1]))
    if kind == "delete":
        path.unlink()
    yield
    path.write_bytes(good)


@pytest.mark.parametrize("kind", REASONS)
def test_damage_is_said_as_over_grpc_and_the_shard_hears_of_it(
    platform, served, left, monkeypatch, kind
):
    writer, manifest, content, folder = served
    source = max(manifest.slices, key=lambda each: each.size)
    with harmed(folder, source, kind):
        said = []
        for least in (0, 1 << 60):
            monkeypatch.setattr(lane, "LEAST_BYTES", least)
            with pytest.raises(errors.DataLossError) as caught:
                all_of(manifest, writer.token)
            said.append((caught.value.reason, caught.value.message, caught.value.metadata))
        assert said[0] == said[1]
        assert said[0][0] == REASONS[kind]
        if kind != "delete":
            assert min(left[:2]) <= 1, "the rest of the transfers came by the lane"
        known = [
            damage.reason
            for node in platform.parameters.nodes[:2]
            for found in node._store.held().values()
            for damage in found.damage
        ]
        assert known == [REASONS[kind]]
    for node in platform.parameters.nodes[:2]:
        for found in node._store.held().values():
            assert sum(found.verify())
    monkeypatch.setattr(lane, "LEAST_BYTES", 0)
    same(all_of(manifest, writer.token), content)


# --- who gets what ---


@pytest.fixture
def ask(platform, served):
    """Asks a shard for a piece as somebody."""
    _, manifest, _, _ = served
    piece = next(s.piece for s in manifest.slices if s.shard == "shard-0")
    fields = {"set": "default/gpt", "version": 1, "pieces": [piece]}

    def call(token=None, boot_id=None):
        boot_id = boot_id or descriptors.boot_id()
        request = pb.OpenPiecesRequest(**fields, boot_id=boot_id)
        with mapped_errors():
            return stub.OpenPieces(
                request, metadata=bearer(platform.token if token is None else token)
            )

    with data_channel(platform.parameters.nodes[0].data_address) as connection:
        stub = pb_grpc.ShardDataServiceStub(connection)
        yield call


def place_of(offer) -> SocketAddress:
    return SocketAddress(path=offer.path, device=offer.device, inode=offer.inode)


def test_a_ticket_is_good_once_and_for_reading_alone(ask):
    offer = ask()
    (descriptor,) = descriptors.fetch(place_of(offer), offer.ticket, 1)
    assert not os.get_inheritable(descriptor)
    with pytest.raises(OSError):
        os.write(descriptor, b"x")
    os.close(descriptor)
    with pytest.raises(OSError, match="0 of 1"):
        descriptors.fetch(place_of(offer), offer.ticket, 1)
    folder = Path(offer.path).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_forged_and_late_tickets_are_good_for_nothing(platform, ask, monkeypatch):
    offer = ask()
    for forged in (bytes(32), os.urandom(32), offer.ticket[:-1] + b"x" if offer.ticket[-1] != 120
                   else offer.ticket[:-1] + b"y"):  # fmt: skip
        with pytest.raises(OSError, match="0 of 1"):
            descriptors.fetch(place_of(offer), forged, 1)
    monkeypatch.setattr(platform.parameters.nodes[0]._lane._tickets, "_clock", lambda: 1e12)
    with pytest.raises(OSError, match="0 of 1"):
        descriptors.fetch(place_of(offer), offer.ticket, 1)


def test_who_may_not_read_gets_no_ticket(platform, ask):
    stranger = platform.issue(subject="eve", role=Role.SUBMITTER, tenant="other")
    another = platform.attempt_token("j9", writes="default/j9")
    for token, reason in ((stranger, "OTHER_TENANT"), (another, "OTHER_SET")):
        with pytest.raises(errors.PermissionDeniedError) as caught:
            ask(token)
        assert caught.value.reason == reason
    with pytest.raises(errors.UnauthenticatedError):
        ask("")


def test_readers_of_other_hosts_are_told_to_pull(ask):
    with pytest.raises(errors.FailedPreconditionError) as caught:
        ask(boot_id=f"{1:08x}-0000-0000-0000-{0:012x}")
    assert caught.value.reason == "OTHER_HOST"


def test_another_socket_with_the_same_path_is_not_believed(ask):
    offer = ask()
    for change in ({"inode": offer.inode + 1}, {"device": offer.device + 1}):
        fields = {"path": offer.path, "device": offer.device, "inode": offer.inode}
        with pytest.raises(OSError, match="another socket"):
            descriptors.fetch(SocketAddress(**(fields | change)), offer.ticket, 1)


def test_tickets_that_are_out_are_bounded(platform, ask):
    tickets = platform.parameters.nodes[0]._lane._tickets
    try:
        with pytest.raises(errors.ResourceExhaustedError) as caught:
            for _ in range(300):
                ask()
        assert caught.value.reason == "TOO_MANY_TICKETS"
        assert len(tickets) == 86, "a set alone has a third"
    finally:
        for ticket in [*tickets._out]:
            tickets.redeem(ticket)


# --- many, and for long ---


@pytest.mark.waits
def test_many_readers_at_once_and_no_descriptor_stays(served, left):
    writer, manifest, content, _ = served
    with ThreadPoolExecutor(12) as readers:
        list(readers.map(lambda _: all_of(manifest, writer.token), range(12)))
        before = opened()
        for found in readers.map(lambda _: all_of(manifest, writer.token), range(48)):
            same(found, content)
        assert set(left) == {0}
        deadline = time.monotonic() + 10
        while opened() > before + 4 and time.monotonic() < deadline:
            time.sleep(0.1)  # Connections of gRPC end on threads of its own.
        assert opened() <= before + 4
