"""Deployments on the command line; those that cannot serve, or serve badly, say so."""

from __future__ import annotations

import copy
import time
from dataclasses import replace

import pytest

from .tables import row


@pytest.fixture
def changed(platform, tiny, client):
    """Commits a changed copy of a model and serves it."""
    running = []

    def make(name, change):
        model = copy.copy(tiny)
        model.name, model.module = name, copy.deepcopy(tiny.module)
        change(model)
        model.publish()
        running.append((name, model.serve(client)))

    yield make
    for name, replica in running:
        platform.run(replica.stop(1))
        client.deployments.delete(name)


def test_deploy_and_undeploy(on, tiny):
    made = on("deploy", "second", "--model", "tiny", "--cpus", "0.5", "--no-wait")
    assert made.code == 0
    assert made.out.split()[:3] == ["second", "PENDING", "tiny"]
    late = on("deploy", "second", "--model", "tiny", "--cpus", "0.5", "--timeout", "0")
    assert late.code == 1
    assert "not ready after 0 s" in late.err
    other = on("deploy", "second", "--model", "tiny@1")
    assert other.code == 2
    gone = on("undeploy", "second", "--output", "json")
    assert gone.json == {"name": "second", "deleting": False}
    assert on("deploy", "second", "--model", "tiny", "--no-wait").code == 0
    assert on("undeploy", "second", "--no-wait").out == "second is being ended\n"


def test_how_far_it_may_be_behind(on, tiny):
    told = ("deploy", "lagging", "--max-lag", "2", "--no-wait", "--output", "json", "--model")
    wrong = on(*told, "tiny@1")
    assert wrong.code == 2
    assert "tiny@1 is a version that is always served" in wrong.err
    assert on(*told, "tiny").json["spec"]["max_lag"] == 2
    assert on("undeploy", "lagging", "--no-wait").code == 0


@pytest.mark.waits
def test_a_deployment_that_can_never_serve_is_not_waited_for(on, changed):
    def more_layers(model):
        decoder = replace(model.config.decoder, layers=3)
        model.config = replace(model.config, decoder=decoder)

    changed("hopeless", more_layers)
    done = on("deploy", "hopeless", "--model", "hopeless@1")
    assert done.code == 1
    (line,) = [line for line in done.err.splitlines() if line.startswith("tessera: ")]
    assert "hopeless cannot serve: version 1" in line
    assert "lacks tensor" in line
    shown = row(on("models").out, "hopeless")
    assert shown[1:4] == ["hopeless@1", "FAILED", "0/1"]
    assert "lacks tensor" in " ".join(shown)
    (known,) = [m for m in on("models", "--output", "json").json if m["spec"]["name"] == "hopeless"]
    assert known["failed_replicas"] == 1
    refused = on("generate", "hopeless", "hello")
    assert refused.code == 2
    assert "lacks tensor" in refused.err


@pytest.mark.waits
def test_a_model_whose_numbers_are_not_finite_says_so(on, changed, tiny):
    def not_a_number(model):
        model.module.trunk.decoder.blocks[0].mlp.up.weight.data[0, 0] = float("nan")

    changed("broken", not_a_number)
    assert on("deploy", "broken", "--model", "broken@1").code == 0
    for command in ("generate", "score"):
        done = on(command, "broken", "def add")
        assert done.code == 1
        assert done.out == ""
        assert "not finite" in done.err
    end = time.monotonic() + 10
    while "not finite" not in " ".join(shown := row(on("models").out, "broken")):
        assert time.monotonic() < end, shown
        time.sleep(0.1)
    assert shown[:5] == ["broken", "broken@1", "READY", "1/1", "1"]
