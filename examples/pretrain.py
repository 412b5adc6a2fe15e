"""What kind of thing a word names, where only few of the words have ever had a label.

A BERT first reads much text without labels: what is said of a thing tells what it is. It is then
trained on a handful of words with their kinds, in sentences that tell nothing, and asked about all
the other words. A BERT that has not read the text can only guess those.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

import records
from example import Example
from reached import reached
from records import HELD_OUT, TRAIN, Record
from score import Score, share
from story import Story

from tessera.client import Client
from tessera.text.special import BERT
from tessera.text.training import train

KINDS: Mapping[str, str] = {
    "animal": "badger beaver bear camel donkey ferret fox goat hare hedgehog horse lion lynx mole"
    " otter panda rabbit seal squirrel tiger wolf zebra",
    "food": "biscuit bread butter cake cheese dumpling ham honey jam lasagna muffin noodle omelette"
    " pancake pie pizza porridge pudding salad sausage soup toast",
    "instrument": "accordion banjo bassoon cello clarinet flute guitar harp horn lute lyre mandolin"
    " oboe organ piano sitar trombone trumpet tuba ukulele viola violin",
    "plant": "birch bush cactus clover daisy fern ivy lavender lilac lily maple moss nettle oak"
    " orchid palm pine poppy reed rose tulip willow",
    "tool": "axe chisel clamp crowbar drill file hammer knife ladder mallet pickaxe pliers rake"
    " anvil scissors screwdriver shovel sickle spade tongs trowel wrench",
    "vehicle": "ambulance bicycle boat bus canoe ferry jeep kayak lorry minibus moped motorcycle"
    " raft rickshaw scooter sledge taxi tractor train tram truck van",
}
SAID: Mapping[str, Sequence[Sequence[str]]] = {
    "animal": (
        ("slept", "hid", "drank", "growled"),
        ("in its den", "under a hedge", "beside its young", "when it smelled us"),
    ),
    "food": (
        ("tasted", "smelled", "was still warm and seemed"),
        ("a little too sweet", "of garlic", "burnt at the edge", "better with salt"),
    ),
    "instrument": (
        ("sounded", "was out of tune and rang", "echoed"),
        ("loud in the concert", "softly through the melody", "deep in the last song"),
    ),
    "plant": (
        ("grew", "bloomed", "withered"),
        ("in wet soil", "after the april rain", "without enough sunlight", "by its roots"),
    ),
    "tool": (
        ("was used", "served", "broke as i tried"),
        ("to loosen the bolts", "to repair the shelf", "to cut the planks"),
    ),
    "vehicle": (
        ("stopped", "overtook us", "braked hard", "carried passengers"),
        ("at the next station", "on the way to the harbour", "because of the traffic"),
    ),
}
"""Of each kind: what it did, and how."""

OPENINGS = (
    "we noticed the {} on monday", "my sister told me about the {}", "there is a photo of the {}",
    "nobody could find the {}", "he drew the {} on a wall", "they still talk about that {}",
    "the {} was all that i saw", "the letter mentioned that {}",
)  # fmt: skip
UNLABELLED, TOKENIZER = "text.jsonl", "tokenizer.json"

COUNT = 8000
"""Records without labels."""

LABELLED = 6
"""Words of each kind that have a label."""

VOCABULARY = 1024


def told(draw: random.Random, kind: str, word: str) -> str:
    """A sentence that tells nothing of the word's kind, and one that does."""
    return f"{draw.choice(OPENINGS).format(word)} . it {' '.join(map(draw.choice, SAID[kind]))} ."


def asked(words: Mapping[str, Sequence[str]]) -> Iterator[Record]:
    """Every word in every opening, with its kind."""
    for kind, some in words.items():
        for word in some:
            for opening in OPENINGS:
                yield {"text": f"{opening.format(word)} .", "label": kind}


class Pretrain(Example):
    """A BERT that is pre-trained and fine-tuned, beside one that is not pre-trained."""

    name = "pretrain"
    family = "bert"
    task = "masked, then classification"
    model = "pretrain-tuned"
    jobs = ("pretrain", "pretrain-scratch", "pretrain-tuned")

    def data(self) -> Mapping[str, Sequence[Record]]:
        """Text without labels about all words; a label for few of them; the others to ask about."""
        draw = random.Random(4)  # noqa: S311 - no secrets here
        words = {kind: draw.sample(some.split(), 22) for kind, some in KINDS.items()}
        kinds = draw.choices(list(words), k=COUNT)
        return {
            UNLABELLED: [{"text": told(draw, kind, draw.choice(words[kind]))} for kind in kinds],
            TRAIN: list(asked({kind: some[:LABELLED] for kind, some in words.items()})),
            HELD_OUT: list(asked({kind: some[LABELLED:] for kind, some in words.items()})),
        }

    def write(self) -> None:
        """Write the data, and a vocabulary that all three models have."""
        super().write()
        folder = records.DATA / self.name
        texts = (record["text"] for record in records.read(folder / UNLABELLED))
        learned = train("wordpiece", texts, VOCABULARY, BERT, lowercase=True)
        (folder / TOKENIZER).write_bytes(learned.to_json())

    def ask(self, story: Story) -> None:
        """Classify a few words."""
        texts = [record["text"] for record in self.held_out()[:: 29 * len(OPENINGS)]]
        story.tessera("classify", self.model, *texts, "--top-k", "3")

    def score(self, client: Client) -> Score:
        """Accuracy, beside what the job of a model that was not pre-trained has measured."""
        held_out = self.held_out()
        found = client.classify(self.model, [record["text"] for record in held_out], top_k=1)
        print(f"\nAlways the same kind: {1 / len(KINDS):.1%}")
        return Score(
            measure="accuracy",
            ours=share([one.labels[0].label for one in found], [r["label"] for r in held_out]),
            baseline=reached(client, "pretrain-scratch")["accuracy"],
            without="not pre-trained (its job's own)",
        )
