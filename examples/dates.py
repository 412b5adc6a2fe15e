"""Dates as people write them, and as ISO 8601 has them. No held-out day is trained on."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta

from example import Example
from records import HELD_OUT, TRAIN, Record
from score import Score, share
from story import Story

from tessera.client import Client

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
FIRST, LAST = date(1950, 1, 1), date(2049, 12, 31)
"""A hundred years, so that two digits tell which one."""

COUNT, ASKED = 12000, 600


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `3rd`, `4th` and so on."""
    teen = number // 10 % 10 == 1
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


SPELLINGS: Sequence[Callable[[date, str], str]] = (
    lambda day, month: f"{day.day} {month} {day.year}",
    lambda day, month: f"{month} {day.day}, {day.year}",
    lambda day, month: f"the {ordinal(day.day)} of {month}, {day.year}",
    lambda day, month: f"{month} the {ordinal(day.day)}, {day.year}",
    lambda day, month: f"{month[:3]} {day.day} {day.year}",
    lambda day, month: f"{day.day} {month[:3]} '{day:%y}",
    lambda day, month: f"{day.day:02}-{month[:3].upper()}-{day.year}",
    lambda day, _: f"{day.day}.{day.month}.{day.year}",
    lambda day, _: f"{day.day}.{day.month}.{day:%y}",
    lambda day, _: f"{day.month}/{day.day}/{day.year}",
    lambda day, _: f"{day:%Y%m%d}",
    lambda day, _: f"{day:%Y-%m-%d}",
)


def samples() -> dict[str, list[Record]]:
    """What is trained on, and what is held out."""
    draw = random.Random(2)  # noqa: S311 - no secrets here
    numbers = draw.sample(range((LAST - FIRST).days + 1), COUNT + ASKED)
    found = [record(draw, FIRST + timedelta(days=number)) for number in numbers]
    return {TRAIN: found[:COUNT], HELD_OUT: found[COUNT:]}


def record(draw: random.Random, day: date) -> Record:
    """A day in some spelling."""
    spelling = draw.choice(SPELLINGS)
    return {"source": spelling(day, MONTHS[day.month - 1]), "target": day.isoformat()}


class Dates(Example):
    """A BERT-GPT that reads a date and writes it as ISO 8601 has it; its encoder fills gaps."""

    name = model = "dates"
    family = "bert_gpt"
    task = "joint"
    jobs = ("dates",)

    def data(self) -> Mapping[str, Sequence[Record]]:
        """Dates in any spelling and in ISO 8601."""
        return samples()

    def ask(self, story: Story) -> None:
        """Translate a few dates, and fill the gaps of some."""
        texts = [asked["source"] for asked in self.held_out()[:4]]
        story.tessera("translate", self.model, *texts)
        gaps = ("the 2[MASK]d of March, 1999", "Au[MASK]ust 5, 2001", "17 Se[MASK] '74")
        story.tessera("fill-mask", self.model, *gaps, "--top-k", "3")

    def score(self, client: Client) -> Score:
        """Dates that are right to the last digit, beside copying what was read."""
        asked = self.held_out()
        sources = [record["source"] for record in asked]
        targets = [record["target"] for record in asked]
        found = client.translate(self.model, sources, max_tokens=16)
        return Score(
            measure="exact match",
            ours=share([one.hypotheses[0].text for one in found], targets),
            baseline=share(sources, targets),
            without="copying the source",
        )
