"""Numbers below a million in English and in German words. No held-out number is trained on."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from example import Example
from records import HELD_OUT, TRAIN, Record
from sacrebleu import CHRF
from score import Score, share
from story import Story

from tessera.client import Client

ENGLISH = (
    "zero", "one", "two", "three", "four", "five", "six", "seven",
    "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen",
    "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
ENGLISH_TENS = (
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
)  # fmt: skip
GERMAN = (
    "null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben",
    "acht", "neun", "zehn", "elf", "zwölf", "dreizehn", "vierzehn", "fünfzehn",
    "sechzehn", "siebzehn", "achtzehn", "neunzehn",
)  # fmt: skip
GERMAN_TENS = (
    "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig",
)  # fmt: skip
HUNDRED, THOUSAND = 100, 1000

COUNT, ASKED = 12000, 400


def english(number: int) -> str:
    """`three hundred twenty-one thousand five`."""
    if number < len(ENGLISH):
        return ENGLISH[number]
    if number < HUNDRED:
        tens, units = divmod(number, 10)
        return ENGLISH_TENS[tens - 2] + (f"-{ENGLISH[units]}" if units else "")
    size, name = (THOUSAND, "thousand") if number >= THOUSAND else (HUNDRED, "hundred")
    front, rest = divmod(number, size)
    return f"{english(front)} {name}" + (f" {english(rest)}" if rest else "")


def german(number: int) -> str:
    """`dreihunderteinundzwanzigtausendfünf`."""
    return german_part(number) + ("s" if number % HUNDRED == 1 else "")


def german_part(number: int) -> str:
    """The same as the beginning of a longer word: `ein`, where alone it is `eins`."""
    if number < len(GERMAN):
        return "ein" if number == 1 else GERMAN[number]
    if number < HUNDRED:
        tens, units = divmod(number, 10)
        return (f"{german_part(units)}und" if units else "") + GERMAN_TENS[tens - 2]
    size, name = (THOUSAND, "tausend") if number >= THOUSAND else (HUNDRED, "hundert")
    front, rest = divmod(number, size)
    return german_part(front) + name + (german_part(rest) if rest else "")


def samples() -> dict[str, list[Record]]:
    """What is trained on, and what is held out."""
    draw = random.Random(3)  # noqa: S311 - no secrets here
    found: dict[int, None] = {}
    while len(found) < COUNT + ASKED:
        # As many short numbers as long ones: there are few of them, so they are taken once.
        found[draw.randrange(10 ** draw.randint(3, 6))] = None
    numbers = list(found)
    draw.shuffle(numbers)
    kept: list[Record] = [
        {"source": english(number), "target": german(number)} for number in numbers
    ]
    return {TRAIN: kept[:COUNT], HELD_OUT: kept[COUNT:]}


class Numbers(Example):
    """A Transformer that translates English number words into German ones."""

    name = model = "numbers"
    family = "transformer"
    task = "translation"
    jobs = ("numbers",)

    def data(self) -> Mapping[str, Sequence[Record]]:
        """Numbers in both languages."""
        return samples()

    def ask(self, story: Story) -> None:
        """Translate a few numbers."""
        texts = [record["source"] for record in self.held_out()[:3]]
        story.tessera("translate", self.model, *texts, "--beams", "4")

    def score(self, client: Client) -> Score:
        """Words that are right to the last letter, beside copying what was read; and chrF."""
        asked = self.held_out()
        sources = [record["source"] for record in asked]
        targets = [record["target"] for record in asked]
        found = client.translate(self.model, sources, max_tokens=48)
        texts = [one.hypotheses[0].text for one in found]
        ours, copied = (CHRF().corpus_score(said, [targets]).score for said in (texts, sources))
        print(f"\nchrF of {len(asked)} translations: {ours:.1f}; of copies: {copied:.1f}")
        return Score(
            measure="exact match",
            ours=share(texts, targets),
            baseline=share(sources, targets),
            without="copying the source",
        )
