"""Little stories about people, and questions about them: who, where, what.

A story names three people, or places, or jobs, so that knowing what kind of word is asked for does
not tell which one. No held-out story is trained on.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from example import Example
from records import HELD_OUT, TRAIN, Record
from score import Score, share
from story import Story

from tessera.client import Client

NAMES = (
    "Anna", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Henry", "Ida", "Jonas",
    "Kate", "Leo", "Maria", "Nils", "Olga", "Paul", "Rosa", "Sam", "Tina", "Victor",
)  # fmt: skip
PLACES = (
    "Oslo", "Lisbon", "Vienna", "Cairo", "Lima", "Tokyo", "Boston", "Dublin",
    "Athens", "Prague", "Rome", "Delhi",
)  # fmt: skip
JOBS = (
    "baker", "teacher", "pilot", "doctor", "painter", "farmer", "lawyer", "singer",
    "nurse", "tailor", "cook", "writer",
)  # fmt: skip

FACTS: Mapping[str, Sequence[tuple[Sequence[str], Sequence[str]]]] = {
    "name": (
        (
            ("The brother of {hero} is {word}.", "{hero} has a brother called {word}."),
            ("Who is the brother of {hero}?", "What is the name of the brother?"),
        ),
        (
            ("The sister of {hero} is {word}.", "{hero} has a sister called {word}."),
            ("Who is the sister of {hero}?", "What is the name of the sister?"),
        ),
        (
            ("{hero} works for {word}.", "The boss of {hero} is {word}."),
            ("Who is the boss of {hero}?", "Who does {hero} work for?"),
        ),
    ),
    "place": (
        (
            ("{hero} was born in {word}.", "The cradle of {hero} stood in {word}."),
            ("Where was {hero} born?", "In which city was {hero} born?"),
        ),
        (
            ("{hero} lives in {word}.", "The home of {hero} is in {word}."),
            ("Where does {hero} live?", "In which city is the home of {hero}?"),
        ),
        (
            ("{hero} spends every summer in {word}.", "In summer {hero} is in {word}."),
            ("Where does {hero} spend the summer?", "Where is {hero} in summer?"),
        ),
    ),
    "job": (
        (
            ("{hero} works as a {word}.", "{hero} is a {word} by now."),
            ("What is {hero} now?", "What does {hero} work as?"),
        ),
        (
            ("{hero} used to be a {word}.", "Long ago {hero} was a {word}."),
            ("What was {hero} long ago?", "What did {hero} use to be?"),
        ),
        (
            ("{hero} dreams of being a {word}.", "One day {hero} will be a {word}."),
            ("What does {hero} dream of?", "What will {hero} be one day?"),
        ),
    ),
}
WORDS: Mapping[str, Sequence[str]] = {"name": NAMES, "place": PLACES, "job": JOBS}

COUNT, ASKED = 12000, 400


def record(draw: random.Random) -> Record:
    """A story, a question about it, and the answer."""
    hero, *others = draw.sample(NAMES, 4)
    told = draw.sample(list(FACTS), 2)
    words = {kind: others if kind == "name" else draw.sample(WORDS[kind], 3) for kind in told}
    sentences = [
        draw.choice(said).format(hero=hero, word=word)
        for kind in told
        for (said, _), word in zip(FACTS[kind], words[kind], strict=True)
    ]
    draw.shuffle(sentences)
    kind, asked = draw.choice(told), draw.randrange(3)
    return {
        "context": " ".join(sentences),
        "question": draw.choice(FACTS[kind][asked][1]).format(hero=hero),
        "answer": words[kind][asked],
    }


def samples() -> Mapping[str, Sequence[Record]]:
    """What is trained on, and what is held out."""
    draw = random.Random(5)  # noqa: S311 - no secrets here
    found: dict[str, Record] = {}
    while len(found) < COUNT + ASKED:
        one = record(draw)
        found[one["context"]] = one
    kept = list(found.values())
    return {TRAIN: kept[:COUNT], HELD_OUT: kept[COUNT:]}


def guess(asked: Record) -> str:
    """The first word of the story that is of the right kind, and not the one that it is about."""
    kind = next(words for words in WORDS.values() if asked["answer"] in words)
    words = asked["context"].replace(".", "").split()
    hero = max(NAMES, key=words.count)
    return next(word for word in words if word in kind and word != hero)


class Questions(Example):
    """A BERT that finds answers."""

    name = model = "questions"
    family = "bert"
    task = "question answering"
    jobs = ("questions",)

    def data(self) -> Mapping[str, Sequence[Record]]:
        """Stories, questions and answers."""
        return samples()

    def ask(self, story: Story) -> None:
        """Ask about two stories."""
        for asked in self.held_out()[:2]:
            story.tessera(
                "answer", self.model, "--question", asked["question"], "--context", asked["context"]
            )

    def score(self, client: Client) -> Score:
        """Answers that are right, beside taking the first word of the right kind."""
        asked = self.held_out()
        pairs = [(record["question"], record["context"]) for record in asked]
        answers = [record["answer"] for record in asked]
        found = client.answer(self.model, pairs)
        return Score(
            measure="exact match",
            ours=share([one.spans[0].text for one in found], answers),
            baseline=share([guess(record) for record in asked], answers),
            without="the first word of its kind",
        )
