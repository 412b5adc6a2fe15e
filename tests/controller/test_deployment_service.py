"""DeploymentService over a real socket; parameters are the real coordinator and shards."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from controllers import spec

from tessera import errors
from tessera.api.controller.v1 import deployment_pb2, job_pb2
from tessera.api.controller.v1.spec_pb2 import InitSpec, ModelSpec, TrainSpec
from tessera.models.registry import FAMILIES
from tessera.parameters.local import start_parameters
from tessera.rpc.channel import mapped_errors
from tessera.rpc.principal import Principal, Role
from tessera.weights.box import Box
from tessera.weights.coordinator import Coordinator
from tessera.weights.local_slice import LocalSlice
from tessera.weights.manifest import TensorSpec
from tessera.weights.push import push

TIMEOUT = 10


async def refused(call, request, metadata, kind):
    with pytest.raises(kind) as caught, mapped_errors():
        await call(request, metadata=metadata, timeout=TIMEOUT)
    return caught.value


@pytest.fixture
def parameters(platform, tmp_path):
    """Real parameter servers, with one committed version of `default/weights`."""
    issue = platform.runtime.issuer.issue
    nodes = [
        issue(Principal(subject="coordinator", role=Role.COORDINATOR)),
        issue(Principal(subject="shard-0", role=Role.SHARD)),
    ]
    return tmp_path / "parameters", nodes, issue(Principal(subject="ada", role=Role.SUBMITTER))


async def commit(platform, folder, nodes, token):
    """Start the servers and commit one version; returns what must be stopped."""
    address = platform.controller.address

    def work():
        servers = start_parameters(address, nodes, folder, shards=1)
        coordinator = Coordinator(address, token)
        grant = coordinator.acquire_writer("default/weights", "job-x", 1)
        tensors = [TensorSpec(group="model", name="w", shape=(4,), dtype="F32")]
        config = FAMILIES["gpt"].config({"width": 128, "heads": 2}, vocab_size=9).to_json()
        assets = {"config.json": config.encode()}
        opened = coordinator.open_version("default/weights", grant.epoch, 1, tensors, assets, {})
        data = np.arange(4, dtype=np.float32).view(np.uint8)
        box = Box(offsets=(0,), extents=(4,))
        push(opened, 0, [LocalSlice(tensor=0, group="model", box=box, data=data)], token)
        coordinator.seal_version(opened)
        return servers, coordinator.commit_version(opened).number

    return await asyncio.to_thread(work)


async def test_sets_and_versions_must_exist(platform, parameters):
    servers, version = await commit(platform, *parameters)
    try:

        async def deploy(name, model, metadata=None, **fields):
            wanted = deployment_pb2.DeploymentSpec(name=name, model=model, **fields)
            request = deployment_pb2.CreateDeploymentRequest(spec=wanted)
            with mapped_errors():
                reply = await platform.deployments.CreateDeployment(
                    request, metadata=metadata or platform.user(), timeout=TIMEOUT
                )
            return reply.deployment

        made = await deploy("m", f"weights@{version}")
        assert made.name == "deployments/default/m"
        assert made.state == deployment_pb2.DEPLOYMENT_STATE_PENDING
        assert (made.spec.replicas, made.spec.engine.max_batch) == (1, 16)
        assert await deploy("m", f"weights@{version}") == made
        for model, reason in [
            ("weights@99", "VERSION_NOT_FOUND"),
            ("nothing", "SET_NOT_FOUND"),
        ]:
            with pytest.raises(errors.NotFoundError) as caught:
                await deploy("n", model)
            assert caught.value.reason == reason
            assert [v.field for v in caught.value.violations] == ["spec.model"]
            for part in ("from", "encoder", "decoder"):
                init = ModelSpec(family="bert_gpt", init=InitSpec(**{part: model}))
                with pytest.raises(errors.NotFoundError) as caught, mapped_errors():
                    await platform.jobs.CreateJob(
                        job_pb2.CreateJobRequest(spec=spec(model=init)),
                        metadata=platform.user(),
                        timeout=TIMEOUT,
                    )
                assert caught.value.reason == reason
                assert [v.field for v in caught.value.violations] == [f"spec.model.init.{part}"]
        with pytest.raises(errors.InvalidArgumentError) as caught:
            await deploy("n", f"weights@{version}", max_lag=1)
        assert caught.value.reason == "LAG_OF_FIXED_VERSION"
        assert [v.field for v in caught.value.violations] == ["spec.max_lag"]
        with pytest.raises(errors.InvalidArgumentError):
            await deploy("n", "weights", max_lag=-1)
        await rates(platform, f"weights@{version}")
        with pytest.raises(errors.AlreadyExistsError) as caught:
            await deploy("m", "weights", replicas=2)
        assert caught.value.reason == "DEPLOYMENT_EXISTS"
        with pytest.raises(errors.NotFoundError):
            await deploy("m", "weights", metadata=platform.user(tenant="other"))
        await lifecycle(platform)
    finally:
        await asyncio.to_thread(servers.stop)


async def rates(platform, model):
    """A run that starts from a version learns as fast as suits its width."""
    init = ModelSpec(family="gpt", init=InitSpec(**{"from": model}))
    for told, rate in ((TrainSpec(), 1e-3), (TrainSpec(lr=0.5), 0.5)):
        request = job_pb2.CreateJobRequest(spec=spec(model=init, train=told), validate_only=True)
        reply = await platform.jobs.CreateJob(request, metadata=platform.user(), timeout=TIMEOUT)
        train = reply.job.spec.train
        assert (train.lr, train.min_lr, train.epochs) == (rate, 0, 3)
        assert not train.HasField("steps")


async def lifecycle(platform):
    """A deployment is read by its replicas, listed, and gone when it is deleted."""
    stub = platform.deployments
    get = deployment_pb2.GetDeploymentRequest(name="m")
    replica = Principal(subject="r", role=Role.REPLICA, deployment="m", reads=("default/weights",))
    reply = await stub.GetDeployment(get, metadata=platform.token(replica), timeout=TIMEOUT)
    assert reply.deployment.spec.model.startswith("weights@")
    listed = await stub.ListDeployments(
        deployment_pb2.ListDeploymentsRequest(), metadata=platform.user(), timeout=TIMEOUT
    )
    assert [d.spec.name for d in listed.deployments] == ["m"]
    stranger = platform.user(tenant="other")
    for name in ("m", "deployments/default/m"):
        request = deployment_pb2.GetDeploymentRequest(name=name)
        await refused(stub.GetDeployment, request, stranger, errors.NotFoundError)
    await stub.DeleteDeployment(
        deployment_pb2.DeleteDeploymentRequest(name="m"), metadata=platform.user(), timeout=TIMEOUT
    )
    error = await refused(stub.GetDeployment, get, platform.user(), errors.NotFoundError)
    assert error.reason == "DEPLOYMENT_NOT_FOUND"
