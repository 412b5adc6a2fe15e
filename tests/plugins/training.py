"""Settings of a run and of its tuning, as the trainer takes them from a resolved spec."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tessera.api.controller.v1.spec_pb2 import DataSpec, JobSpec, ModelSpec
from tessera.trainer.settings import Settings
from tessera.trainer.spec import settings_of
from tessera.trainer.tuning import Tuning


def make_settings(**changes: Any) -> Settings:
    """Those of the shortest spec that there is, with changes."""
    shortest = JobSpec(name="test", model=ModelSpec(family="gpt"), data=DataSpec(files=["x://x"]))
    return replace(settings_of(shortest), **changes)


def make_tuning(**changes: Any) -> Tuning:
    """All weights learn, but for the changes."""
    return replace(make_settings().tuning, **changes)
