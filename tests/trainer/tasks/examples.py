"""Eight records for every kind of task."""

from __future__ import annotations

NOUNS = ("cat", "dog", "bird", "fish", "cow", "hen", "fox", "owl")
VERBS = ("sees", "hears", "likes", "finds", "wants", "fears", "meets", "hides")

TEXT = "".join(
    f"the {a} {v} the {b}. " for a in NOUNS for v, b in zip(VERBS, reversed(NOUNS), strict=True)
)

PAIRS = [
    {"source": f"the {noun} {verb}" + " now" * (at % 3), "target": f"{verb[::-1]} {noun}"}
    for at, (noun, verb) in enumerate(zip(NOUNS, VERBS, strict=True))
]
CLASSES = [
    {"text": f"the {noun} {verb}", "label": "big" if at % 2 else "small"}
    for at, (noun, verb) in enumerate(zip(NOUNS, VERBS, strict=True))
]
SEVERAL = [
    {"text": f"the {noun}", "label": [name for bit, name in enumerate("abc") if at >> bit & 1]}
    for at, noun in enumerate(NOUNS)
]
TAGS = [
    {"tokens": ["the", noun, verb, "Bo", "Li"], "tags": ["O", "B-ANIMAL", "O", "B-NAME", "I-NAME"]}
    for noun, verb in zip(NOUNS, VERBS, strict=True)
]
ANSWERS = [
    {"question": "who?", "context": f"a {noun} {verb} it", "answer": noun}
    for noun, verb in zip(NOUNS, VERBS, strict=True)
]
SIMILAR = [
    {"text": f"the {noun} {verb}", "text_pair": f"{noun}: {verb}"}
    for noun, verb in zip(NOUNS, VERBS, strict=True)
]
SCORED = [{**pair, "score": (at - 4) / 4} for at, pair in enumerate(SIMILAR)]

JUDGED = [
    {"text": f"where is the {noun}?", "text_pair": f"the {noun} {verb}", "score": at % 2}
    for at, (noun, verb) in enumerate(zip(NOUNS, VERBS, strict=True))
]
STARS = [{"text": f"the {noun}", "score": at - 3} for at, noun in enumerate(NOUNS)]

RECORDS = {
    "language_modeling": TEXT,
    "masked_language_modeling": TEXT,
    "joint": PAIRS,
    "translation": PAIRS,
    "summarization": PAIRS,
    "classification": CLASSES,
    "sentiment": CLASSES,
    "regression": JUDGED,
    "token_classification": TAGS,
    "question_answering": ANSWERS,
    "sentence_embedding": SIMILAR,
}
