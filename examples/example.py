"""What every example is: data, jobs, a few questions to see, and many to score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import records
from records import HELD_OUT, Record
from score import Score
from story import Story

from tessera.client import Client


class Example(ABC):
    """A family on a task, end to end.

    Args:
        name: of the example, and of its data's folder.
        family: of the model.
        task: that it learns.
        model: the parameter set that is served, under the same name.
        jobs: names of the jobs that are run, one after the other, and of their files.
    """

    name: str
    family: str
    task: str
    model: str
    jobs: tuple[str, ...]

    @abstractmethod
    def data(self) -> Mapping[str, Sequence[Record]]:
        """Records by the names of their files: always the same."""

    @abstractmethod
    def ask(self, story: Story) -> None:
        """Put a few questions to the served model, as commands that are shown."""

    @abstractmethod
    def score(self, client: Client) -> Score:
        """How well the model does on what it has never seen; most put questions to it."""

    def write(self) -> None:
        """Write the data."""
        for file, found in self.data().items():
            records.write(records.DATA / self.name / file, found)

    def held_out(self) -> list[dict[str, str]]:
        """What was written to be asked."""
        return records.read(records.DATA / self.name / HELD_OUT)

    def train(self, story: Story) -> None:
        """Run the jobs."""
        for job in self.jobs:
            story.train(job)
