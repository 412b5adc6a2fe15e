"""The demo's GPT on the source of Python's standard library, as one of the examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import demo
from example import Example
from reached import newest
from records import Record
from score import Score
from story import Story

from tessera.client import Client


class Writer(Example):
    """A GPT that writes Python."""

    name = "gpt"
    family = "gpt"
    task = "language modeling"
    model = demo.NAME
    jobs = (demo.NAME,)

    def data(self) -> Mapping[str, Sequence[Record]]:
        """None: the job reads what is on the machine."""
        return {}

    def ask(self, story: Story) -> None:
        """Let it write."""
        demo.write(story)

    def score(self, client: Client) -> Score:
        """The loss on files that it has never seen, as its job measured it, beside bigrams."""
        progress = newest(client, self.model).progress
        return Score(
            measure="held-out loss",
            ours=progress.held_out_loss,
            baseline=progress.baseline_loss,
            without="token bigrams",
            loss=True,
            served=False,
        )
