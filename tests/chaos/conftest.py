"""A platform to wound, and a run that was never disturbed to compare with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from platforms import Platform, corpus, running, tiny

STEPS, EVERY = 300, 50
"""Long enough to be killed in the middle, short enough to wait for."""


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return corpus(tmp_path_factory.mktemp("corpus") / "text", files=20)


@pytest.fixture(scope="session")
def spec(files: list[str]):
    """Makes the spec that every run here shares, but for its name."""

    def make(name: str, **more: Any) -> dict[str, Any]:
        model = {"width": 64, "context": 64, **more.pop("model", {})}
        train = {"batch_size": 8, "eval_every": 100, **more.pop("train", {})}
        publish = {"every": EVERY, "keep": 10}
        return tiny(name, files, steps=STEPS, model=model, train=train, publish=publish, **more)

    return make


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One that every test leaves healthy."""
    with running(tmp_path_factory.mktemp("platform")) as made:
        yield made


@pytest.fixture(scope="session")
def undisturbed(platform: Platform, spec) -> dict[int, float]:
    """Loss at every step of a run that nobody touched."""
    job = platform.submit(spec("undisturbed"))
    platform.succeed(job)
    losses = platform.losses(job)
    assert sorted(losses) == list(range(1, STEPS + 1))
    return losses
