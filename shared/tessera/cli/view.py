"""What is known of a job that is being watched, as a picture or as one line."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tessera.api.controller.v1 import job_pb2 as pb
from tessera.cli import show

BAR_WIDTH = 40


class View:
    """The latest state, progress and reasons to wait."""

    def __init__(self) -> None:
        self.state = ""
        self.reasons = ""
        self.progress: pb.Progress | None = None

    def add_event(self, event: pb.JobEvent) -> None:
        """Take an entry of the history in."""
        self.state = show.enum(pb.JobState.Name(event.state), "JOB_STATE_")
        waits = event.state == pb.JOB_STATE_QUEUED
        self.reasons = " ".join(event.message.split()) if waits else ""

    def add_progress(self, progress: pb.Progress) -> None:
        """Take progress in."""
        self.progress = progress

    def line(self) -> str:
        """All of it in one line."""
        return "  ".join([self.phase(), self.steps(), *self.figures()]).strip()

    def phase(self) -> str:
        """What the job is doing."""
        if self.state == "RUNNING" and self.progress and self.progress.phase:
            return self.progress.phase
        return self.state.lower()

    def steps(self) -> str:
        """`120/400`."""
        if self.progress is None or not self.progress.total_steps:
            return ""
        return f"step {self.progress.step}/{self.progress.total_steps}"

    def figures(self) -> list[str]:
        """Epoch, losses, pace, time left and version, as far as they are known."""
        p = self.progress
        if p is None:
            return []
        over = f" (n={p.evaluated_examples})" if p.evaluated_examples else ""
        known = [
            f"epoch {p.epoch:.2f}" if p.HasField("epoch") else "",
            f"loss {p.loss:.3f}" if p.loss else "",
            f"held-out {p.held_out_loss:.3f}{over}" if p.HasField("held_out_loss") else "",
            f"baseline {p.baseline_loss:.3f}" if p.HasField("baseline_loss") else "",
            *(f"{name.replace('_', ' ')} {value:.3f}" for name, value in sorted(p.metrics.items())),
            f"{p.tokens_per_second:,.0f} tokens/s" if p.tokens_per_second else "",
            f"{show.duration(p.seconds_left)} left" if p.HasField("seconds_left") else "",
            f"version {p.version}" if p.version else "",
        ]
        return [figure for figure in known if figure]

    def picture(self) -> RenderableType:
        """A bar and the figures below it."""
        grid = Table.grid(padding=(0, 2, 0, 0))
        p = self.progress
        total, done = (p.total_steps, p.step) if p else (0, 0)
        bar = ProgressBar(total=total or 1, completed=done, width=BAR_WIDTH)
        grid.add_row(Text(self.phase(), style="bold"), bar, Text(self.steps()))
        below = self.reasons or " · ".join(self.figures())
        return Group(grid, Text(below, style="dim"))
