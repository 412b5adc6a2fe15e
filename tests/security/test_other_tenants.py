"""What is another tenant's does not exist: methods that look something up, on real servers."""

from __future__ import annotations

import hashlib

import grpc
import pytest
from in_process import InProcessPlatform

from tessera.api.controller.v1 import (
    deployment_pb2,
    deployment_pb2_grpc,
    job_pb2,
    job_pb2_grpc,
    pool_pb2,
    pool_pb2_grpc,
    registry_pb2,
    registry_pb2_grpc,
    usage_pb2,
    usage_pb2_grpc,
)
from tessera.api.controller.v1.spec_pb2 import DataSpec, JobSpec, ModelSpec
from tessera.api.parameters.v1 import coordinator_pb2, coordinator_pb2_grpc
from tessera.rpc.channel import bearer, channel
from tessera.rpc.policy.rule import Kind
from tessera.rpc.policy.table import TABLE
from tessera.rpc.principal import Role

GONE = grpc.StatusCode.NOT_FOUND
TEXT = b"a text of one's own"
ELSEWHERE = {"ListSets", "ListTenants", "CreateJob", "CreateDeployment", "PutBlob"}
"""Methods that look nothing of others up: tested beside, or what they make is the caller's own."""


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    with InProcessPlatform(tmp_path_factory.mktemp("home")) as running:
        running.start_parameters()
        running.deploy("chat", "mine")
        yield running


@pytest.fixture(scope="module")
def ask(platform):
    """Calls a method as somebody; returns what came, or the status of the refusal."""
    with channel(platform.address) as connection:
        stubs = {
            "JobService": job_pb2_grpc.JobServiceStub(connection),
            "DeploymentService": deployment_pb2_grpc.DeploymentServiceStub(connection),
            "BlobService": pool_pb2_grpc.BlobServiceStub(connection),
            "RegistryService": registry_pb2_grpc.RegistryServiceStub(connection),
            "UsageService": usage_pb2_grpc.UsageServiceStub(connection),
        }

        def call(method, request, tenant):
            (path,) = [path for path in TABLE if path.endswith(f"/{method}")]
            service = path.split("/")[1].rpartition(".")[2]
            token = platform.issue(subject="x", role=Role.ADMIN, tenant=tenant)
            given = iter(request) if isinstance(request, list) else request
            try:
                answer = getattr(stubs[service], method)(given, metadata=bearer(token), timeout=10)
                return list(answer) if hasattr(answer, "__iter__") else answer
            except grpc.RpcError as error:
                return error.code()

        yield call


@pytest.fixture(scope="module")
def job(ask):
    digest = hashlib.sha256(TEXT).hexdigest()
    put = [pool_pb2.PutBlobRequest(digest=digest), pool_pb2.PutBlobRequest(data=TEXT)]
    assert ask("PutBlob", put, "default").size == len(TEXT)
    spec = JobSpec(
        name="mine", model=ModelSpec(family="gpt"), data=DataSpec(files=["stdlib://**/*.py"])
    )
    reply = ask("CreateJob", job_pb2.CreateJobRequest(spec=spec), "default")
    assert reply.job.tenant == "default"
    return reply.job


def cases(job):
    """Requests that name what is of tenant `default`, by method."""
    names = (job.id, job.name, job.spec.name)
    digest = hashlib.sha256(TEXT).hexdigest()
    return {
        "GetJob": [job_pb2.GetJobRequest(name=name) for name in names],
        "CancelJob": [job_pb2.CancelJobRequest(name=name) for name in names],
        "ExplainJob": [job_pb2.ExplainJobRequest(name=name) for name in names],
        "HoldJob": [job_pb2.HoldJobRequest(name=name) for name in names],
        "ReleaseJob": [job_pb2.ReleaseJobRequest(name=name) for name in names],
        "PauseJob": [job_pb2.PauseJobRequest(name=name) for name in names],
        "ResumeJob": [job_pb2.ResumeJobRequest(name=name) for name in names],
        "RequeueJob": [job_pb2.RequeueJobRequest(name=name) for name in names],
        "UpdateJob": [job_pb2.UpdateJobRequest(name=name) for name in names],
        "DeleteJob": [job_pb2.DeleteJobRequest(name=name) for name in names],
        "GetJobRun": [job_pb2.GetJobRunRequest(name=name) for name in names],
        "CheckpointJob": [job_pb2.CheckpointJobRequest(name=name) for name in names],
        "WatchJob": [job_pb2.WatchJobRequest(name=name) for name in names],
        "StreamLogs": [job_pb2.StreamLogsRequest(name=name) for name in names],
        "StreamMetrics": [job_pb2.StreamMetricsRequest(name=name) for name in names],
        "GetDeployment": [
            deployment_pb2.GetDeploymentRequest(name=name)
            for name in ("chat", "deployments/default/chat", "default/chat")
        ],
        "DeleteDeployment": [
            deployment_pb2.DeleteDeploymentRequest(name=name)
            for name in ("chat", "deployments/default/chat", "default/chat")
        ],
        "StatBlob": [pool_pb2.StatBlobRequest(digest=digest)],
        "GetBlob": [pool_pb2.GetBlobRequest(digest=digest)],
        "ListJobs": [job_pb2.ListJobsRequest()],
        "ListUsage": [usage_pb2.ListUsageRequest()],
        "ListDeployments": [deployment_pb2.ListDeploymentsRequest()],
        "Resolve": [registry_pb2.ResolveRequest(role=registry_pb2.ROLE_REPLICA)],
    }


def test_every_method_that_looks_something_up_has_a_case(job):
    scoped = {
        path.rpartition("/")[2]
        for path, rule in TABLE.items()
        if any(resource.kind is Kind.SCOPED for resource in rule.resources)
    }
    assert scoped == cases(job).keys() | ELSEWHERE


def test_what_is_anothers_does_not_exist(ask, job):
    for method, requests in cases(job).items():
        for request in requests:
            answer = ask(method, request, "shop")
            if method.startswith(("List", "Resolve")):
                assert not answer.ListFields(), (method, answer)
            else:
                assert answer is GONE, (method, request, answer)
    mine = ask("GetJob", job_pb2.GetJobRequest(name=job.id), "default")
    assert mine.job.state == job.state, "nothing of it changed"


def test_sets_of_others_are_not_listed(platform):
    writer = platform.attempt_token("j", writes="default/theirs")
    endpoint = platform.parameters.nodes[-1].address
    with channel(endpoint) as connection:
        stub = coordinator_pb2_grpc.CoordinatorServiceStub(connection)
        request = coordinator_pb2.AcquireWriterRequest(set="default/theirs", job="j", attempt=1)
        stub.AcquireWriter(request, metadata=bearer(writer), timeout=10)
        for tenant, expected in (("default", ["default/theirs"]), ("shop", [])):
            token = platform.issue(subject="x", role=Role.VIEWER, tenant=tenant)
            reply = stub.ListSets(
                coordinator_pb2.ListSetsRequest(), metadata=bearer(token), timeout=10
            )
            assert [one.name for one in reply.sets] == expected
