"""What one tenant, or one job, can do to the weights of others."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import versions
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import InProcessPlatform

from tessera import errors
from tessera.api.parameters.v1 import coordinator_pb2 as pb
from tessera.api.parameters.v1 import manifest_pb2
from tessera.api.parameters.v1 import shard_pb2 as shard
from tessera.parameters.local_vault import LocalVault
from tessera.parameters.push_grant import GrantSigner, GrantVerifier, PushGrant
from tessera.parameters.quota import TenantQuota
from tessera.parameters.slice_store import SliceStore
from tessera.rpc.channel import bearer, data_channel, mapped_errors
from tessera.rpc.platform_limits import WeightLimits
from tessera.rpc.principal import Role
from tessera.weights import wire
from tessera.weights.coordinator import Coordinator

SIZE = 64_000
GROUPS = ("model", "optimizer")


class Writer(versions.Writer):
    """Of versions of two groups of `SIZE` bytes each."""

    def publish(self, step=1):
        content = {}
        for group in GROUPS:
            arrays = {f"{group}.w": np.full(SIZE // 4, step, np.float32)}
            content |= versions.content(arrays, group=group)
        return self.commit(content, {}, step=step)

    def open(self, size=SIZE):
        if not self.epoch:
            self.acquire()
        (tensor,) = versions.content({"w": np.zeros(1, np.float32)})
        declared = type(tensor)(group="model", name="w", shape=(size // 4,), dtype="F32")
        return self.client.open_version(self.set, self.epoch, 1, [declared])

    def held(self):
        return {v.number: v.groups for v in self.client.list_versions(self.set)}


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    with InProcessPlatform(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture
def start(platform, tmp_path):
    yield lambda **limits: platform.start_parameters(tmp_path, shards=1, **limits)
    platform.stop_parameters()


@pytest.fixture
def writer(platform):
    made = []

    def make(name, **fields) -> Writer:
        made.append(Writer(platform, name, ranks=1, **fields))
        return made[-1]

    yield make
    for each in made:
        each.client.close()


@pytest.fixture
def person(platform):
    """Makes clients of people of a tenant."""
    made = []

    def make(tenant, subject="eve", role=Role.SUBMITTER) -> Coordinator:
        token = platform.issue(subject=subject, role=role, tenant=tenant)
        made.append(Coordinator(platform.address, token, patience=5))
        return made[-1]

    yield make
    for each in made:
        each.close()


def send(address, token, *messages):
    """A push of these messages."""
    with data_channel(address) as connection, mapped_errors():
        call = connection.stream_unary(
            wire.PUSH_METHOD,
            request_serializer=wire.serialize,
            response_deserializer=shard.PushSlicesResponse.FromString,
        )
        return call(iter(messages), metadata=bearer(token), timeout=10)


def target(name, grant, rank=0):
    return shard.PushSlicesRequest(target=shard.PushTarget(set=name, grant=grant, rank=rank))


# --- who may push ---


def test_nobody_but_the_coordinator_says_which_epoch_is_pushed(
    start, writer, person, platform, tmp_path
):
    """One stream with a great epoch fenced the rightful writer until the shards restarted."""
    start()
    victim, other = writer("a/gpt"), writer("a/mine", job="j2")
    opened, theirs = victim.open(), other.open()
    address = opened.shards[0].data_address
    great = PushGrant(store="0" * 32, set="a/gpt", version=10**6, epoch=10**12)
    own = GrantSigner(tmp_path / "own.pem")
    eve = platform.issue(subject="eve", role=Role.SUBMITTER, tenant="a")
    for grant in (own.sign(great), theirs.grant, opened.grant[:-4] + "AAAA", victim.token):
        with pytest.raises(errors.PermissionDeniedError) as caught:
            send(address, eve, target("a/gpt", grant))
        assert caught.value.reason == "GRANT_INVALID"
    # A client has no field to say either of them.
    assert {f.name for f in shard.PushTarget.DESCRIPTOR.fields} == {"set", "rank", "grant"}
    victim.publish()
    assert set(victim.held()) == {2}


def test_an_epoch_is_worth_something_only_to_whom_it_was_given(start, writer, person):
    """Epochs are small numbers: another user of the tenant, or another attempt, guesses them."""
    start()
    victim, eve = writer("a/gpt"), person("a")
    opened = victim.open()
    for act in (
        lambda: eve.open_version("a/gpt", victim.epoch, 1, opened.tensors),
        lambda: eve.seal_version(opened),
        lambda: eve.commit_version(opened),
        lambda: eve.abort_version(opened),
    ):
        with pytest.raises(errors.FailedPreconditionError) as caught:
            act()
        assert caught.value.reason == "FENCED"
    content = {opened.tensors[0]: np.zeros(opened.tensors[0].size, np.uint8)}
    victim.push(opened, content)
    victim.client.seal_version(opened)
    assert victim.client.commit_version(opened).number == opened.number


def test_a_grant_outlives_its_coordinator_and_ends_with_its_time(start, writer, platform, tmp_path):
    start()
    it = writer("a/gpt")
    opened = it.open()
    platform.stop_parameters()
    start()
    content = {opened.tensors[0]: np.zeros(opened.tensors[0].size, np.uint8)}
    it.push(opened, content)
    it.client.seal_version(opened)
    signer = GrantSigner(tmp_path / "coordinator" / "grants.pem")
    assert (tmp_path / "coordinator" / "grants.pem").stat().st_mode & 0o077 == 0
    grant = PushGrant(store="0" * 32, set="a/gpt", version=1, epoch=1)
    verifier = GrantVerifier(lambda: signer.public_key)
    assert verifier.verify(signer.sign(grant)) == grant
    with pytest.raises(errors.PermissionDeniedError):
        verifier.verify(signer.sign(grant, seconds=-1))


@pytest.mark.measures
def test_bad_grants_do_not_become_calls_of_the_controller(tmp_path):
    asked = []
    signer = GrantSigner(tmp_path / "k")

    def fetch():
        asked.append(time.monotonic())
        return signer.public_key

    verifier = GrantVerifier(fetch)
    begin = time.monotonic()
    for _ in range(200):
        with pytest.raises(errors.PermissionDeniedError):
            verifier.verify("nonsense")
    assert len(asked) <= 2 + (time.monotonic() - begin)


# --- room ---


def test_what_a_tenant_declares_takes_nothing_from_another(start, writer):
    cap = 9 * SIZE
    start(disk_cap_bytes=cap)
    a, b = writer("a/gpt"), writer("b/gpt")
    a.acquire(keep=10)
    for step in (1, 2, 3):
        a.publish(step)
    whole = a.held()
    assert whole == dict.fromkeys((1, 2, 3), GROUPS)
    for size in (4 * SIZE, 100 * SIZE, 1 << 50):
        with pytest.raises(errors.ResourceExhaustedError) as caught:
            b.open(size)
        assert caught.value.reason == "DISK_CAP"
        assert caught.value.retry_after
        assert a.held() == whole
    # What is free it may have, and then nobody else has it: a's own oldest give way for a's next.
    opened = b.open(3 * SIZE)
    assert a.held() == whole
    a.publish(4)
    assert a.held() == {4: GROUPS, 3: GROUPS, 2: ("model",), 1: ("model",)}
    b.push(opened, {opened.tensors[0]: np.zeros(opened.tensors[0].size, np.uint8)})
    b.client.seal_version(opened)
    b.client.commit_version(opened)
    assert a.held() == {4: GROUPS, 3: GROUPS, 2: ("model",), 1: ("model",)}
    total = sum(v.size for each in (a, b) for v in each.client.list_versions(each.set))
    assert total <= cap


def test_opening_drops_nothing_of_ones_own_either(start, writer):
    start(disk_cap_bytes=5 * SIZE)
    it = writer("a/gpt")
    it.acquire(keep=10)
    it.publish(1)
    it.publish(2)
    assert it.held() == {2: GROUPS, 1: GROUPS}
    it.open(3 * SIZE)
    assert it.held() == {2: GROUPS, 1: GROUPS}


def test_a_tenant_has_a_quota_of_bytes(start, writer):
    start(quota=TenantQuota(each=WeightLimits(bytes=5 * SIZE)))
    a, b = writer("a/gpt"), writer("b/gpt")
    a.acquire(keep=10)
    a.publish(1)
    with pytest.raises(errors.ResourceExhaustedError) as caught:
        a.open(4 * SIZE)
    assert caught.value.reason == "QUOTA_EXCEEDED"
    assert caught.value.metadata == {
        "quota": "bytes", "used": str(2 * SIZE), "limit": str(5 * SIZE),
    }  # fmt: skip
    for step in (2, 3, 4):
        a.publish(step)
    assert sum(v.size for v in a.client.list_versions(a.set)) <= 5 * SIZE
    b.publish(1)


# --- numbers ---


def refused(act):
    with pytest.raises(errors.ResourceExhaustedError) as caught:
        act()
    assert caught.value.reason == "QUOTA_EXCEEDED"
    assert caught.value.retry_after
    return caught.value.metadata["quota"]


def test_tenants_have_so_many_of_everything(start, writer, person):
    start(quota=TenantQuota(each=WeightLimits(sets=3, versions=4, open_versions=2, pins=2)))
    first = writer("a/s0")
    first.acquire(keep=10)
    first.publish()
    opened = [writer(f"a/s{index}", job=f"j{index}").open() for index in (1, 2)]
    assert refused(first.open) == "open_versions"
    assert refused(lambda: writer("a/s3", job="j3").acquire()) == "sets"
    client = person("a")
    for owner in ("x", "y"):
        client.pin_version("a/s0", 1, owner, 60)
    client.pin_version("a/s0", 1, "x", 60)
    assert refused(lambda: client.pin_version("a/s0", 1, "z", 60)) == "pins"
    client.release_pin("a/s0", 1, "y")
    client.pin_version("a/s0", 1, "z", 60)
    for index, each in enumerate(opened):
        token = Coordinator(first.client._controller, writer(each.set, job=f"j{index + 1}").token)
        token.abort_version(each)
        token.close()
    for step in (2, 3, 4):
        first.publish(step)
    assert refused(first.open) == "versions"
    # Another tenant is not touched by any of it, though its name begins with the other's.
    writer("ab/s0").publish()


def test_watchers_are_counted_and_leave_no_trace(start, writer, person):
    parameters = start(quota=TenantQuota(each=WeightLimits(watchers=3)))
    watched = parameters.nodes[-1]._versions
    writer("a/gpt").publish()
    client = person("a")
    stub, metadata = client.stub(again=False), client.metadata
    for number in range(40):
        call = stub.WatchSet(pb.WatchSetRequest(set=f"a/n{number}"), metadata=metadata, timeout=10)
        with pytest.raises(errors.NotFoundError), mapped_errors():
            next(call)
    assert watched._changed == {}
    request = pb.WatchSetRequest(set="a/gpt")
    calls = [stub.WatchSet(request, metadata=metadata, timeout=30) for _ in range(3)]
    assert [next(call).head.number for call in calls] == [1, 1, 1]

    def another():
        with mapped_errors():
            next(stub.WatchSet(request, metadata=metadata, timeout=10))

    assert refused(another) == "watchers"
    for call in calls:
        call.cancel()
    end = threading.Event()
    while watched._watchers and not end.wait(0.05):
        pass
    another()


# --- names, and what is no message ---


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80), st.integers())
def test_whatever_is_called_a_set_lies_below_the_root(tmp_path_factory, name, version):
    if not stores:
        root = tmp_path_factory.mktemp("root")
        stores[root] = SliceStore(LocalVault(root))
    ((root, store),) = stores.items()
    try:
        folder = store.vault.path(f"{name}/{version}")
    except errors.InvalidArgumentError:
        with pytest.raises(errors.InvalidArgumentError):
            store.folder((name, version))
        return
    assert folder.resolve().is_relative_to(root.resolve())
    assert folder.resolve() != root.resolve()
    assert folder == store.vault.path(store.folder((name, version)))


stores: dict[Path, SliceStore] = {}


@pytest.mark.parametrize("name", ["../../x", "a/../../x", "/x", "a/.", "..", "", "a//b", "a/b\0"])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    outside = tmp_path / "x"
    outside.mkdir()
    vault = LocalVault(tmp_path / "root")
    store = SliceStore(vault)
    for act in (store.folder, store.drop, lambda key: vault.remove_folder(key[0])):
        with pytest.raises(errors.InvalidArgumentError) as caught:
            act((name, 1))
        assert caught.value.reason == "INVALID_NAME"
    assert outside.is_dir()


def test_nonsense_is_the_callers_mistake(start, writer, person):
    start()
    it = writer("a/gpt")
    opened = it.open()
    address = opened.shards[0].data_address
    first = target("a/gpt", opened.grant)
    header = shard.SliceHeader(
        group="g" * 300, size=4, box=manifest_pb2.Box(offsets=[0], extents=[1])
    )
    headers = shard.PushSlicesRequest(headers=shard.SliceHeaders(headers=[header]))
    for reason, messages in (
        ("MALFORMED_MESSAGE", (first, b"\x12\xff")),
        ("BAD_MESSAGE", (first, b"")),
        ("INVALID_FIELD", (target("a/gpt", opened.grant, rank=-1),)),
        ("INVALID_NAME", (first, headers, shard.PushSlicesRequest(data=b"1234"))),
    ):
        with pytest.raises(errors.InvalidArgumentError) as caught:
            send(address, it.token, *messages)
        assert caught.value.reason == reason
    client = person("a")
    stub = client.stub(again=False)
    for token in ("9" * 20, "²", "-1", "x"):
        with pytest.raises(errors.InvalidArgumentError), mapped_errors():
            stub.ListVersions(
                pb.ListVersionsRequest(set="a/gpt", page_token=token),
                metadata=client.metadata,
                timeout=10,
            )
    huge = manifest_pb2.Tensor(group="model", name="w", shape=[1 << 40, 1 << 40], dtype="F32")
    request = pb.OpenVersionRequest(set="a/gpt", epoch=it.epoch, tensors=[huge])
    with pytest.raises(errors.InvalidArgumentError) as caught, mapped_errors():
        it.client.stub(again=False).OpenVersion(request, metadata=it.client.metadata, timeout=10)
    assert caught.value.reason == "INVALID_TENSOR"
    pin = pb.PinVersionRequest(set="a/gpt", version=1, owner="o", ttl={"seconds": 1 << 62})
    with pytest.raises(errors.InvalidArgumentError), mapped_errors():
        stub.PinVersion(pin, metadata=client.metadata, timeout=10)
