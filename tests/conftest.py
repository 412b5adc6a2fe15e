"""Fixtures of every test: one Ray cluster for the whole session, made at its first use."""

from __future__ import annotations

import gc
import secrets
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import structlog
from xdist.scheduler import LoadScopeScheduling

from tessera.durable_file import PRIVATE, write_durably
from tessera.local.guard import Guard
from tessera.local.ray_head import RayHead

# Helpers that several folders of tests share.
sys.path.insert(0, str(Path(__file__).parent / "plugins"))
pytest.register_assert_rewrite("platforms", "reading", "same_numbers", "same_texts")

# What a platform in this process logs is no output of the command that a test runs.
structlog.configure(logger_factory=structlog.stdlib.LoggerFactory())


class Shares(LoadScopeScheduling):
    """Shares the tests out: one worker has every file with Ray, so that there is one cluster.

    Those of whole platforms, which bring their own, are for another worker. The tests of any other
    file stay together, with what they share.
    """

    def _split_scope(self, nodeid: str) -> str:
        return self._share_of(nodeid.partition("::")[0])

    @cache  # noqa: B019 - there is one scheduler
    def _share_of(self, path: str) -> str:
        if "pytest.mark.ray" not in (self.config.rootpath / path).read_text():
            return path
        return "platform" if path.startswith("tests/integration/") else "ray"


def pytest_configure(config: pytest.Config) -> None:
    """Whatever ends this run, nothing that it started goes on; its xdist workers are of it."""
    gc.disable()  # Until all is collected: little of what is imported is garbage.
    if not hasattr(config, "workerinput"):
        config.add_cleanup(Guard.start().close)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Shares:
    return Shares(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what needs Ray, for it takes longest; measure again what was out of bounds once.

    What another process takes of the machine is in every measurement, a defect is in all three.
    """
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)
    for item in items:
        if item.get_closest_marker("measures"):
            item.add_marker(
                pytest.mark.flaky(reruns=2, reruns_delay=1, only_rerun="AssertionError")
            )


def pytest_collection_finish() -> None:
    """Thousands of tests and three large libraries stay to the end: nobody needs to look again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    gc.enable()


@dataclass(frozen=True)
class RayCluster:
    """A running cluster: `env` is what a subprocess needs to talk to it, RAY_ADDRESS included."""

    address: str
    dashboard_url: str
    metrics_url: str
    env: dict[str, str]
    token_path: Path
    temp_dir: Path


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    folder = tmp_path_factory.mktemp("ray")
    token_path = folder / "ray-token"
    write_durably(token_path, secrets.token_hex(32).encode(), mode=PRIVATE)
    head = RayHead(
        token_path=token_path, log_path=folder / "ray.log", cpus=8, mark=f"test-{uuid.uuid4().hex}"
    )
    try:
        found = head.bring_up()
        yield RayCluster(
            address=found.gcs,
            dashboard_url=found.dashboard,
            metrics_url=found.metrics,
            env={**head.env(), "RAY_ADDRESS": found.gcs},
            token_path=token_path,
            temp_dir=head.temp_dir,
        )
    finally:
        head.stop()
