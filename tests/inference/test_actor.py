"""Replicas as actors of a real Ray cluster, made and ended by the job that ensures them."""

from __future__ import annotations

import asyncio
import copy
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tessera import errors
from tessera.api.controller.v1 import registry_pb2
from tessera.inference.ensure import WantedReplicas
from tessera.rpc.principal import Role
from tessera.rpc.registration import resolve

from .replicas import Client, Writer, active


def wanted(deployment, replicas, *, tenant="t", generation="g"):
    return WantedReplicas(
        controller="",
        token="",
        tenant=tenant,
        deployment=deployment,
        generation=generation,
        replicas=replicas,
        cpus=1,
    )


def test_only_this_deployments_surplus_replicas_are_ended():
    names = [wanted(d, 0).actor_name(i) for d in ("a", "a-1", "b") for i in (0, 1, 12)]
    names += [wanted("a", 0, tenant="t-a").actor_name(0), "tessera-shard-0", "tessera-replica-a-x"]
    assert set(wanted("a", 1).surplus(names).values()) == {1, 12}
    assert set(wanted("a", 0).surplus(names).values()) == {0, 1, 12}
    assert wanted("a-1", 2).surplus(names) == {wanted("a-1", 2).actor_name(12): 12}
    assert wanted("c", 0).surplus(names) == {}


PARTS = st.text("ab0-", min_size=1, max_size=5).filter(lambda part: part.strip("-") == part)
PLACES = st.tuples(PARTS, PARTS, PARTS, st.integers(0, 12))


@given(PLACES, PLACES, st.integers(0, 12))
def test_no_actor_is_taken_for_anothers(one, other, replicas):
    """Two tenants may call their deployments alike, or so that one name begins another."""

    def of(tenant, deployment, generation, count=0):
        return wanted(deployment, count, tenant=tenant, generation=generation)

    (*who, index), (*them, number) = one, other
    name = of(*them).actor_name(number)
    assert (name == of(*who).actor_name(index)) == (one == other)
    surplus = of(*who, replicas).surplus([name])
    if who[:2] != them[:2]:
        assert not surplus
    elif who[2] != them[2] or number >= replicas:
        assert surplus == {name: number}
    else:
        assert not surplus


@pytest.mark.parametrize("part", ["", "a/b", "../a", "A", "a.b", "-a"])
def test_what_would_tear_a_name_apart_is_none(part):
    for field in ({"deployment": part}, {"deployment": "a", "tenant": part}):
        with pytest.raises(ValueError, match="no part of an actor's name"):
            wanted(replicas=1, **field)


async def ensure(
    ray_cluster, platform, name, replicas, code=0, *, tenant="default", generation="g"
):
    """Runs the job as the controller does, but for the Jobs API; returns its last line."""
    arguments = ["--controller", platform.address, "--tenant", tenant, "--deployment", name]
    arguments += ["--generation", generation, "--replicas", str(replicas), "--cpus", "0.5"]
    tickets = platform.tickets(Role.REPLICA, tenant=tenant, deployment=name)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tessera.inference",
        *arguments,
        env={**os.environ, **ray_cluster.env, **tickets, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == code, output.decode()
    return output.decode().splitlines()[-1]


async def endpoints(platform, name, tenant="default"):
    token = platform.issue(subject="ada", role=Role.VIEWER, tenant=tenant)
    found = await resolve(platform.address, token, registry_pb2.ROLE_REPLICA, f"{name}/")
    return {endpoint.name: endpoint for endpoint in found}


async def another(platform, name, incarnation, seconds=60):
    """The endpoint of the next life of a replica."""
    async with asyncio.timeout(seconds):
        while True:
            found = (await endpoints(platform, name)).get(f"{name}/0")
            if found is not None and found.incarnation != incarnation:
                return found
            await asyncio.sleep(0.1)


@pytest.mark.ray
async def test_a_replica_lives_is_killed_comes_back_and_ends(ray_cluster, platform, tiny):
    name = f"acted-{os.getpid()}"
    version = Writer(platform, name).publish(tiny.model(1))
    platform.deploy(name, f"{name}@{version}")
    await ensure(ray_cluster, platform, name, 2)
    found = await endpoints(platform, name)
    assert set(found) == {f"{name}/0", f"{name}/1"}
    expected = (version, tiny.naive(tiny.model(1), (3, 4), 12))
    for endpoint in found.values():
        await check(platform, endpoint, name, version, expected)

    first = found[f"{name}/0"]
    os.kill(int(first.labels["pid"]), signal.SIGKILL)
    again = await another(platform, name, first.incarnation)
    assert again.labels["pid"] != first.labels["pid"]
    await check(platform, again, name, version, expected)
    await metrics_show(ray_cluster, name)

    await ensure(ray_cluster, platform, name, 1)
    assert set(await endpoints(platform, name)) == {f"{name}/0"}
    await ensure(ray_cluster, platform, name, 0)
    assert not await endpoints(platform, name)


@pytest.mark.ray
async def test_deployments_of_two_tenants_with_one_name_are_two(ray_cluster, platform):
    name = f"both-{os.getpid()}"
    tenants = ("default", "b")
    for tenant in tenants:
        platform.deploy(name, "nothing-yet", tenant=tenant)
        await ensure(ray_cluster, platform, name, 1, tenant=tenant)
    first, other = [(await endpoints(platform, name, tenant))[f"{name}/0"] for tenant in tenants]
    assert first.control_address != other.control_address
    await ensure(ray_cluster, platform, name, 0, tenant="b", generation="h")
    assert not await endpoints(platform, name, "b")
    assert (await endpoints(platform, name))[f"{name}/0"].incarnation == first.incarnation
    # What is left of another generation is replaced, whatever it was made for.
    await ensure(ray_cluster, platform, name, 1, generation="h")
    assert (await endpoints(platform, name))[f"{name}/0"].incarnation != first.incarnation
    await ensure(ray_cluster, platform, name, 0)


@pytest.mark.ray
async def test_what_is_wrong_with_a_replica_is_told(ray_cluster, platform, tiny):
    """One that can never start, and one whose numbers are not finite."""
    unknown = f"nobody-{os.getpid()}"
    assert unknown in await ensure(ray_cluster, platform, unknown, 1, code=1)
    await ensure(ray_cluster, platform, unknown, 0)
    name = f"broken-{os.getpid()}"
    broken = copy.deepcopy(tiny.model(1))
    with torch.no_grad():
        broken.module.trunk.decoder.blocks[0].mlp.up.weight[0, 0] = float("nan")
    version = Writer(platform, name).publish(broken)
    platform.deploy(name, name)
    await ensure(ray_cluster, platform, name, 1)
    (endpoint,) = (await endpoints(platform, name)).values()
    client = Client(platform, endpoint.control_address, name)
    await client.until(active(version), 60)
    with pytest.raises(errors.InternalError) as caught:
        await client.generate((3, 4), 12)
    assert caught.value.reason == "OUTPUT_NOT_FINITE"
    await client.channel.close()
    await metrics_show(ray_cluster, name, ("tessera_inference_corrupted_requests_total",))
    await ensure(ray_cluster, platform, name, 0)


async def check(platform, endpoint, name, version, expected):
    client = Client(platform, endpoint.control_address, name)
    await client.until(active(version), 60)
    assert await client.generate((3, 4), 12) == expected
    await client.channel.close()


SERIES = (
    "tessera_inference_requests_total",
    "tessera_inference_tokens_total",
    "tessera_inference_time_to_first_token_seconds",
    "tessera_inference_version",
    "tessera_inference_lag",
    "tessera_inference_running_requests",
    "tessera_inference_waiting_requests",
    "tessera_inference_free_blocks",
)


async def metrics_show(ray_cluster, name, series=SERIES):
    """Ray's own Prometheus endpoint has what the replicas count."""
    end = time.monotonic() + 40
    while True:
        text = await asyncio.to_thread(read, ray_cluster.metrics_url)
        lines = [line for line in text.splitlines() if f'deployment="{name}"' in line]
        missing = [one for one in series if not any(f"ray_{one}" in line for line in lines)]
        if not missing:
            return
        assert time.monotonic() < end, missing
        await asyncio.sleep(0.5)


def read(url):
    with urllib.request.urlopen(url, timeout=10) as reply:
        return reply.read().decode()
