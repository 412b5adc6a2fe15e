"""What a run works on, once its data is prepared."""

from __future__ import annotations

from dataclasses import dataclass

from tessera.models.config import ModelConfig
from tessera.trainer import entrypoint
from tessera.trainer.batch import Dataset
from tessera.trainer.step.objective import Objective, OwnObjective, TaskObjective
from tessera.trainer.tasks.task import Task, TaskData


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What a run does: its task, data and model, and what the user put in their place."""

    task: Task
    data: TaskData
    config: ModelConfig
    override: entrypoint.Override

    @property
    def dataset(self) -> Dataset:
        """What it is trained on and measured by."""
        return self.override.dataset or self.data.dataset

    @property
    def objective(self) -> Objective:
        """What is minimized."""
        if self.override.loss is not None:
            return OwnObjective(self.override.loss)
        return TaskObjective(self.task)
