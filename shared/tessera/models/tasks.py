"""The kinds of tasks, a row each: all that is known of one beside how it is trained.

Importing it loads no torch: what trains and what answers is named by its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tessera.models import head
from tessera.models.config import ModelConfig
from tessera.models.head import Head
from tessera.models.task import TaskConfig

LANGUAGE = "language_modeling"
MASKED = "masked_language_modeling"
JOINT = "joint"
TRANSLATION = "translation"
SUMMARIZATION = "summarization"
CLASSIFICATION = "classification"
SENTIMENT = "sentiment"
REGRESSION = "regression"
TOKENS = "token_classification"
QUESTION_ANSWERING = "question_answering"
EMBEDDING = "sentence_embedding"

READS = "reads"
"""A family's ability: a state for each token of a text, and two texts beside one another."""
SEES_ALL = "sees_all"
"""Its ability: these states have seen the whole text, not only what stands before."""
CONTINUES = "continues"
"""Its ability: a decoder alone goes on with a text."""
TRANSLATES = "translates"
"""Its ability: a decoder writes what belongs to what an encoder has read."""

TABLES = ("jsonl", "csv", "tsv", "parquet", "dataset")
"""Formats whose records have columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskKind:
    """One kind of task.

    Args:
        name: what specs call it.
        heads: that its models have; the first one answers methods that ask one head.
        needs: abilities of the families that can have it.
        trainer: `module:attribute` of what makes a `tessera.trainer.tasks.task.Task` of the
            settings of a run.
        methods: of the API that its models answer.
        answers: `module:attribute` by method, where its models answer in another way than
            `tessera.inference.tasks.methods` does; called with the same arguments.
        fields: of TaskSpec that mean something.
        defaults: of these, where they are other ones than for other tasks.
        roles: of the columns of its data.
        required: those that every record must say.
        formats: that its data may have.
        pooling: which state stands for a text where states have seen all of it; empty: what its
            family says.
    """

    name: str
    heads: tuple[Head, ...]
    needs: frozenset[str]
    trainer: str
    methods: tuple[str, ...]
    answers: Mapping[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    defaults: Mapping[str, int | float | bool | str] = field(default_factory=dict)
    roles: tuple[str, ...]
    required: tuple[str, ...] = ()
    formats: tuple[str, ...] = TABLES
    pooling: str = ""

    @property
    def head_names(self) -> tuple[str, ...]:
        """Names of the heads."""
        return tuple(head.name for head in self.heads)

    @property
    def scores(self) -> bool:
        """Whether the model gives a text, or two, one score, and no classes."""
        return self.name == REGRESSION

    @property
    def writes(self) -> bool:
        """Whether the model writes text."""
        return any(head.writes for head in self.heads)

    @property
    def translates(self) -> bool:
        """Whether a decoder writes what an encoder has not read."""
        return TRANSLATES in self.needs


TASKS: dict[str, TaskKind] = {}
"""Every kind by its name; `register` adds to it."""


def register(kind: TaskKind) -> None:
    """Make a kind of task known; ValueError if there is one of that name."""
    if kind.name in TASKS:
        raise ValueError(f"there is a task `{kind.name}` already")
    TASKS[kind.name] = kind


def kind_of(task: TaskConfig) -> TaskKind:
    """All that is known of the kind of a task."""
    return TASKS[task.kind]


def outputs(task: TaskConfig) -> int:
    """Rows of the projection of a head that is no language head; 0: there is none."""
    return kind_of(task).heads[0].rows(task)


def count_parameters(config: ModelConfig) -> int:
    """Number of weights of a model, shared ones counted once."""
    heads = kind_of(config.task).heads
    return config.trunk_parameters + sum(head.parameters(config) for head in heads)


register(
    TaskKind(
        name=LANGUAGE,
        heads=(head.LANGUAGE,),
        needs=frozenset({CONTINUES}),
        trainer="tessera.trainer.tasks.language_modeling:LanguageModeling",
        methods=("Generate", "Score"),
        fields=("label_smoothing",),
        roles=("text",),
        required=("text",),
        formats=("text", *TABLES),
    )
)
register(
    TaskKind(
        name=MASKED,
        heads=(head.MASKED,),
        needs=frozenset({READS, SEES_ALL}),
        trainer="tessera.trainer.tasks.masked_language_modeling:MaskedLanguageModeling",
        methods=("FillMask",),
        fields=("mask_probability", "label_smoothing", "packing"),
        roles=("text",),
        required=("text",),
        formats=("text", *TABLES),
    )
)
register(
    TaskKind(
        name=JOINT,
        heads=(head.MASKED, head.LANGUAGE),
        needs=frozenset({SEES_ALL, TRANSLATES}),
        trainer="tessera.trainer.tasks.joint:Joint",
        methods=("FillMask", "Generate", "Translate", "Score"),
        fields=("mask_probability", "masked_weight", "next_weight", "label_smoothing"),
        roles=("text", "source", "target"),
        required=("text",),
        formats=("text", "parallel", *TABLES),
    )
)
for _name in (TRANSLATION, SUMMARIZATION):
    register(
        TaskKind(
            name=_name,
            heads=(head.LANGUAGE,),
            needs=frozenset({TRANSLATES}),
            trainer="tessera.trainer.tasks.translation:Translation",
            methods=("Generate", "Translate", "Score"),
            fields=("label_smoothing",),
            defaults={"label_smoothing": 0.1},
            roles=("source", "target"),
            required=("source", "target"),
            formats=("parallel", *TABLES),
        )
    )
register(
    TaskKind(
        name=CLASSIFICATION,
        heads=(head.CLASSES,),
        needs=frozenset({READS}),
        trainer="tessera.trainer.tasks.classification:Classification",
        methods=("Classify",),
        fields=("labels", "multi_label", "label_smoothing", "pooling"),
        roles=("text", "text_pair", "label"),
        required=("text", "label"),
    )
)
register(
    TaskKind(
        name=SENTIMENT,
        heads=(head.CLASSES,),
        needs=frozenset({READS}),
        trainer="tessera.trainer.tasks.classification:Classification",
        methods=("Classify",),
        fields=("labels", "label_smoothing", "pooling"),
        roles=("text", "text_pair", "label"),
        required=("text", "label"),
    )
)
register(
    TaskKind(
        name=REGRESSION,
        heads=(head.SCORE,),
        needs=frozenset({READS}),
        trainer="tessera.trainer.tasks.regression:Regression",
        methods=("Classify",),
        fields=("pooling",),
        roles=("text", "text_pair", "score"),
        required=("text", "score"),
    )
)
register(
    TaskKind(
        name=TOKENS,
        heads=(head.TOKENS,),
        needs=frozenset({READS}),
        trainer="tessera.trainer.tasks.token_classification:TokenClassification",
        methods=("Classify",),
        answers={"Classify": "tessera.inference.tasks.tags:Tags"},
        fields=("labels", "label_smoothing"),
        roles=("tokens", "tags"),
        required=("tokens", "tags"),
    )
)
register(
    TaskKind(
        name=QUESTION_ANSWERING,
        heads=(head.SPAN,),
        needs=frozenset({READS, SEES_ALL}),
        trainer="tessera.trainer.tasks.question_answering:QuestionAnswering",
        methods=("Answer",),
        fields=("stride",),
        roles=("question", "context", "answer", "answer_start"),
        required=("question", "context"),
    )
)
register(
    TaskKind(
        name=EMBEDDING,
        heads=(head.VECTORS,),
        needs=frozenset({READS}),
        trainer="tessera.trainer.tasks.sentence_embedding:SentenceEmbedding",
        methods=("Embed",),
        fields=("pooling",),
        roles=("text", "text_pair", "score"),
        required=("text", "text_pair"),
        pooling="mean",
    )
)
