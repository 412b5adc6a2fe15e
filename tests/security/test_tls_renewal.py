"""Certificates of a few seconds: whoever stands goes on, and whoever comes later is let in."""

from __future__ import annotations

import time

import numpy as np
import pytest
from in_process import InProcessPlatform

from tessera.client import Client
from tessera.controller.services import identity
from tessera.parameters.local import start_parameters
from tessera.rpc.credentials import Credentials
from tessera.weights.box import Box
from tessera.weights.coordinator import Coordinator
from tessera.weights.local_slice import LocalSlice
from tessera.weights.manifest import TensorSpec
from tessera.weights.push import push

LIFE = 6.0
TENSORS = [TensorSpec(group="model", name="w", shape=(64,), dtype="F32")]

pytestmark = pytest.mark.processes


@pytest.fixture
def platform(tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "WORKLOAD_SECONDS", LIFE)
    with InProcessPlatform(tmp_path, tls=True) as running:
        running.roots = running.controller.runtime.trust.roots
        (tmp_path / "ca.crt").write_bytes(running.roots)
        running.shown = [short(running, token) for token in running.node_tokens()[:3]]
        running.parameters = start_parameters(running.address, running.shown, tmp_path / "p")
        yield running


def short(platform, token: str) -> Credentials:
    """As a ticket gives it: the token is renewed, and with it the certificate."""
    principal = platform.controller.runtime.trust.verifier.verify(token)
    issued = platform.controller.runtime.issuer.issue(principal, ttl=LIFE)
    return Credentials(platform.address, issued, platform.roots)


def commit(coordinator, token, epoch: int, step: int) -> int:
    """A version, which needs the coordinator, and the coordinator both shards."""
    opened = coordinator.open_version("default/s", epoch, step, TENSORS)
    data = np.full(256, step, np.uint8)
    push(opened, 0, [LocalSlice(tensor=0, group="model", box=Box.whole((64,)), data=data)], token)
    coordinator.seal_version(opened)
    coordinator.commit_version(opened)
    return opened.number


def test_everything_goes_on_beyond_the_first_certificates(platform):
    with Client(platform.address, platform.token, ca=platform.home / "ca.crt") as client:
        token = client._connection.token
        coordinator = Coordinator(platform.address, token)
        epoch = coordinator.acquire_writer("default/s", "j", 1).epoch
        first = commit(coordinator, token, epoch, 1)
        before = [each.tls.identity.chain for each in platform.shown]
        shown = token.tls.identity.chain
        end = time.monotonic() + 2.2 * LIFE
        step = 1
        while time.monotonic() < end:
            step += 1
            commit(coordinator, token, epoch, step)
            time.sleep(0.5)
        after = [each.tls.identity.chain for each in platform.shown]
        assert not set(before) & set(after)
        assert token.tls.identity.chain != shown
        # Whoever comes now makes new connections to all of them.
        with Client(platform.address, platform.token, ca=platform.home / "ca.crt") as another:
            numbers = [version.number for version in another.versions("s")]
    assert numbers[0] >= first + step - 1
