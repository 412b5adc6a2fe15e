"""The task of a run: what its kind names as its trainer."""

from __future__ import annotations

import pkgutil

from tessera.models.tasks import TASKS
from tessera.trainer.settings import Settings
from tessera.trainer.tasks.task import Task


def make_task(settings: Settings) -> Task:
    """The task of a run."""
    task: Task = pkgutil.resolve_name(TASKS[settings.task.kind].trainer)(settings)
    return task
