"""What an operator sets takes effect in every kind of server, for each tenant by its name."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack

import grpc
import pytest
from in_process import InProcessPlatform

from tessera import errors
from tessera.api.controller.v1.spec_pb2 import DataSpec, JobSpec, ModelSpec, PublishSpec
from tessera.api.parameters.v1 import coordinator_pb2, coordinator_pb2_grpc
from tessera.client import Client
from tessera.client.local_files import LocalFile
from tessera.parameters.quota import TenantQuota
from tessera.rpc.channel import bearer, mapped_errors
from tessera.rpc.platform_limits import PlatformLimits
from tessera.rpc.principal import Role
from tessera.spec.configuration import parse_configuration

FILE = """\
servers:
  principal: {per_second: 0.1, burst: 3}
  messages: {bytes: 8388608}
uploads: {bytes: 1000}
tenant: {jobs: 4, blob_bytes: 2000, weights: {sets: 1}}
tenants:
  small: {jobs: 1, weights: {sets: 2}}
"""
LIMITS = parse_configuration(FILE, "limits.yaml", PlatformLimits)


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    with InProcessPlatform(tmp_path_factory.mktemp("home"), limits=LIMITS) as running:
        with Client(running.address, running.token) as client:
            for name in ("small", "other"):
                client.access.create_tenant(name)
        running.start_parameters(quota=TenantQuota.of_platform(LIMITS), calls=LIMITS.servers)
        yield running


@pytest.fixture
def as_(platform):
    """Clients of somebody in a tenant."""
    with ExitStack() as stack:

        def client(subject, tenant):
            token = platform.issue(subject=subject, role=Role.SUBMITTER, tenant=tenant)
            return stack.enter_context(Client(platform.address, token))

        yield client


def submit(client, name):
    data, model = DataSpec(files=["stdlib://**/*.py"]), ModelSpec(family="gpt")
    spec = JobSpec(name=name, model=model, data=data, publish=PublishSpec(set=name))
    return client.jobs.create(spec)


def upload(client, content):
    digest = hashlib.sha256(content).hexdigest()
    client.blobs.upload([LocalFile(name="f", digest=digest, size=len(content), source=content)])


def exceeded(call):
    with pytest.raises(errors.ResourceExhaustedError) as caught:
        call()
    return caught.value.reason, caught.value.metadata.get("limit")


def test_jobs_of_one_tenant_and_of_all_others(as_):
    submit(as_("ada", "small"), "one")
    assert exceeded(lambda: submit(as_("bob", "small"), "two")) == ("QUOTA_EXCEEDED", "1")
    for number in range(2):
        submit(as_("ada", "other"), f"a{number}")
        submit(as_("bob", "other"), f"b{number}")
    assert exceeded(lambda: submit(as_("eve", "other"), "c")) == ("QUOTA_EXCEEDED", "4")


def test_what_each_tenant_has_and_may_have(platform, as_):
    upload(as_("dan", "small"), b"x" * 700)
    with Client(platform.address, platform.token) as client:
        told = {one.name: one for one in client.access.tenants()}
    small = told["small"]
    assert (small.jobs.used, small.jobs.limit) == (1, 1)
    assert (small.blob_bytes.used, small.blob_bytes.limit) == (700, 2000)
    assert (told["other"].jobs.used, told["other"].jobs.limit) == (4, 4)
    (own,) = as_("dan", "small").access.tenants()
    assert own == small


def test_the_size_of_an_upload(as_):
    with pytest.raises(errors.ResourceExhaustedError) as caught:
        upload(as_("kim", "other"), b"y" * 1001)
    assert caught.value.reason == "BLOB_TOO_LARGE"


def test_sets_at_the_coordinator(platform, as_):
    def acquire(tenant, name):
        client = as_("sam" + name, tenant)
        client._coordinator.acquire_writer(f"{tenant}/{name}", job=name, attempt=1)

    acquire("other", "a")
    assert exceeded(lambda: acquire("other", "b")) == ("QUOTA_EXCEEDED", "1")
    acquire("small", "a")
    acquire("small", "b")
    assert exceeded(lambda: acquire("small", "c")) == ("QUOTA_EXCEEDED", "2")


def test_rates_and_sizes_at_every_door(platform):
    token = platform.issue(subject="fast", role=Role.SUBMITTER, tenant="other")
    coordinator = platform.parameters.nodes[-1].address
    with grpc.insecure_channel(coordinator) as connection:
        stub = coordinator_pb2_grpc.CoordinatorServiceStub(connection)
        request = coordinator_pb2.AcquireWriterRequest(set="other/a", job="x", attempt=1)

        def acquire():
            with mapped_errors():
                stub.AcquireWriter(request, metadata=bearer(token), timeout=10)

        reasons = [exceeded_or_not(acquire) for _ in range(5)]
    assert reasons[-2:] == ["RATE_LIMITED"] * 2
    # Five MiB are no longer too many bytes: what they are is looked at.
    with grpc.insecure_channel(platform.address) as connection:
        call = connection.unary_unary("/tessera.api.controller.v1.AccessService/ListTenants")
        for size, reason in ((5 << 20, "MALFORMED_MESSAGE"), (9 << 20, "MESSAGE_TOO_LARGE")):
            with pytest.raises(errors.TesseraError) as caught, mapped_errors():
                call(b"\xff" * size, metadata=bearer(token), timeout=10)
            assert caught.value.reason == reason


def exceeded_or_not(call):
    try:
        call()
    except errors.TesseraError as error:
        return error.reason
    return ""
