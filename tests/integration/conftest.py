"""One platform for all integration tests, in an unkind shell, and one model trained on it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from platforms import Platform, corpus, running, tiny

from . import unkind

MODEL = "tiny"


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("platform")
    with running(folder / unkind.HOME, **unkind.unkind(folder)) as made:
        yield made
    assert unkind.trapped(folder) == "", "these modules of the working directory were imported"


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return corpus(tmp_path_factory.mktemp("corpus") / "text")


@pytest.fixture(scope="session")
def trained(platform: Platform, files: list[str]) -> str:
    """Id of a job that has trained and committed the set `tiny`."""
    job = platform.submit(tiny(MODEL, files))
    platform.succeed(job)
    return job


@pytest.fixture(scope="session")
def deployed(platform: Platform, trained: str) -> str:
    """Name of a deployment of that set, made after the run's folders were deleted."""
    delete_run_folders(platform, trained)
    platform.deploy(MODEL, MODEL)
    return MODEL


def delete_run_folders(platform: Platform, job: str) -> None:
    """Delete whatever the job and its Train run have written outside the parameter service."""
    places = [Path.home() / "ray_results", Path(platform.state.ray_temp_dir)]
    for place in places:
        for found in list(place.rglob(f"*{job}*")) if place.exists() else []:
            if found.is_dir():
                shutil.rmtree(found, ignore_errors=True)
