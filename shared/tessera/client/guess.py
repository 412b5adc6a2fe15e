"""What columns seem to be for: the task, and which column has which role. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tessera.client import survey
from tessera.client.survey import ColumnSurvey
from tessera.models import tasks
from tessera.models.registry import usual_family

_LABELS = re.compile(
    r"(.*[_ ])?(labels?|class(es)?|categor(y|ies)|sentiments?|targets?|stars|ratings?|topics?|"
    r"intents?|emotions?|genres?|tags?|polarity|y|coarse_label|spam|types?)"
)
_TEXTS = re.compile(
    r"(.*[_ ])?(text|sentence|review|content|body|comment|message|title|headline|description|"
    r"summary|abstract|tweet|question|utterance|document|article|subject|sms|email)s?"
)
_PAIRS = (
    ("text", "text_pair"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("query", "passage"),
)
_TRANSLATIONS = (("source", "target"), ("src", "tgt"), ("src", "trg"))
_SUMMARIES = (("article", "highlights"), ("document", "summary"), ("dialogue", "summary"))
_SCORES = re.compile(r"(.*[_ ])?(score|similarity|relatedness)(_score)?")
_TAGS = re.compile(r"(.*_)?tags?")
_LANGUAGE = re.compile(r"[a-z]{2}(_[A-Z]{2})?")
_FEWEST_WORDS = 2
_FEW_BLANK = 0.2
"""Share of the rows that may lack a class, which is a mistake in them rather than another task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """What data seems to be for.

    Args:
        kind: of the task.
        columns: role to column or template, roles that are columns too left out.
        multi_label: whether a text may have any number of classes.
    """

    kind: str
    columns: Mapping[str, str] = field(default_factory=dict)
    multi_label: bool = False

    @property
    def family(self) -> str:
        """The family that its kind is mostly given to."""
        return usual_family(self.kind)

    @property
    def label(self) -> str:
        """The column that says the classes; empty: there is none."""
        role = {tasks.CLASSIFICATION: "label", tasks.TOKENS: "tags"}.get(self.kind, "")
        return self.columns.get(role, role)


def guess(columns: Sequence[ColumnSurvey]) -> Guess | None:
    """What the columns of some data are for; None: nothing that there is a task for."""
    named = {column.name: column for column in columns}
    for look in (_question, _words, _pair, _scored, _several, _classes, _texts):
        if (found := look(named)) is not None:
            told = {role: name for role, name in found.columns.items() if role != name}
            return replace(found, columns=told)
    return None


def _question(named: Mapping[str, ColumnSurvey]) -> Guess | None:
    if not {"question", "context"} <= set(named):
        return None
    columns = {}
    if "answers" in named and set(named["answers"].inner) >= {"text", "answer_start"}:
        columns = {"answer": "answers.text.0", "answer_start": "answers.answer_start.0"}
    elif "answer" not in named:
        return None
    return Guess(kind=tasks.QUESTION_ANSWERING, columns=columns)


def _words(named: Mapping[str, ColumnSurvey]) -> Guess | None:
    lists = [name for name, column in named.items() if column.kind == survey.LIST]
    tags = [name for name in lists if _TAGS.fullmatch(name)]
    words = [name for name in lists if name not in tags]
    if not tags and {"tokens", "tags"} <= set(named):
        return Guess(kind=tasks.TOKENS)
    if not tags or not words:
        return None
    columns = {"tokens": words[0], "tags": "ner_tags" if "ner_tags" in tags else tags[0]}
    return Guess(kind=tasks.TOKENS, columns=columns)


def _pair(named: Mapping[str, ColumnSurvey]) -> Guess | None:
    """Translations and summaries."""
    inside = named.get("translation")
    if inside is not None and len(inside.inner) >= len(("source", "target")):
        sides = [f"translation.{name}" for name in inside.inner]
        return Guess(kind=tasks.TRANSLATION, columns=_sides(sides))
    for kind, pairs in ((tasks.TRANSLATION, _TRANSLATIONS), (tasks.SUMMARIZATION, _SUMMARIES)):
        for pair in pairs:
            if all(name in named and named[name].kind == survey.TEXT for name in pair):
                return Guess(kind=kind, columns=_sides(pair))
    texts = [name for name, column in named.items() if _says_text(column)]
    if len(texts) == len(named) == len(("source", "target")) and all(
        map(_LANGUAGE.fullmatch, texts)
    ):
        return Guess(kind=tasks.TRANSLATION, columns=_sides(texts))
    return None


def _sides(names: Sequence[str]) -> dict[str, str]:
    return {"source": names[0], "target": names[1]}


def _scored(named: Mapping[str, ColumnSurvey]) -> Guess | None:
    scores = [
        name
        for name, column in named.items()
        if column.kind in {survey.NUMBER, survey.WHOLE} and _SCORES.fullmatch(name.lower())
    ]
    pair = _two_texts(named)
    if not scores or not pair:
        return None
    columns = {"text": pair[0], "text_pair": pair[1], "score": scores[0]}
    return Guess(kind=tasks.EMBEDDING, columns=columns)


def _several(named: Mapping[str, ColumnSurvey]) -> Guess | None:
    """Texts with lists of classes."""
    lists = [name for name, column in named.items() if column.kind == survey.LIST]
    label = next((name for name in lists if _LABELS.fullmatch(name.lower())), None)
    texts = _text_columns(named)
    if label is None or not texts:
        return None
    columns = {"text": _joined(texts), "label": label}
    return Guess(kind=tasks.CLASSIFICATION, columns=columns, multi_label=True)


def _classes(named: Mapping[str, ColumnSurvey]) -> Guess | None:
    candidates = [
        name
        for name, column in named.items()
        if column.blank < _FEW_BLANK * sum(column.classes.values())
    ]
    told = [name for name in candidates if _LABELS.fullmatch(name.lower())]
    # What people put last, or first, is mostly the class; the fewer classes, the likelier.
    best = told or sorted(candidates, key=lambda name: len(named[name].classes))
    if not best:
        return None
    label = best[0]
    others = {name: column for name, column in named.items() if name != label}
    pair = _two_texts(others)
    if pair:
        columns = {"text": pair[0], "text_pair": pair[1], "label": label}
        return Guess(kind=tasks.CLASSIFICATION, columns=columns)
    texts = _text_columns(others)
    if not texts:
        return None
    return Guess(kind=tasks.CLASSIFICATION, columns={"text": _joined(texts), "label": label})


def _texts(named: Mapping[str, ColumnSurvey]) -> Guess | None:
    texts = _text_columns(named)
    if not texts:
        return None
    return Guess(kind=tasks.LANGUAGE, columns={"text": _joined(texts)})


def _two_texts(named: Mapping[str, ColumnSurvey]) -> tuple[str, str] | None:
    return next((pair for pair in _PAIRS if set(pair) <= set(named)), None)


def _text_columns(named: Mapping[str, ColumnSurvey]) -> list[str]:
    """Columns that hold texts: those of such a name, or else all of several words."""
    texts = [name for name, column in named.items() if _says_text(column)]
    told = [name for name in texts if _TEXTS.fullmatch(name.lower())]
    if told:
        return told
    if texts:
        return texts
    return [name for name, column in named.items() if column.kind == survey.TEXT][:1]


def _says_text(column: ColumnSurvey) -> bool:
    return (
        column.kind == survey.TEXT
        and not column.classes
        and column.lengths is not None
        and column.lengths.words >= _FEWEST_WORDS
    )


def _joined(names: Sequence[str]) -> str:
    """One column, or a template of several."""
    return names[0] if len(names) == 1 else " ".join(f"{{{name}}}" for name in names)
