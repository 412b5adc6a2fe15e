"""The tasks that exist, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tessera.models import task as kinds
from tessera.trainer.settings import Settings
from tessera.trainer.tasks.classification import Classification
from tessera.trainer.tasks.joint import Joint
from tessera.trainer.tasks.language_modeling import LanguageModeling
from tessera.trainer.tasks.masked_language_modeling import MaskedLanguageModeling
from tessera.trainer.tasks.question_answering import QuestionAnswering
from tessera.trainer.tasks.sentence_embedding import SentenceEmbedding
from tessera.trainer.tasks.task import Task
from tessera.trainer.tasks.token_classification import TokenClassification
from tessera.trainer.tasks.translation import Translation

_TASKS: Mapping[str, Callable[[Settings], Task]] = {
    kinds.LANGUAGE: LanguageModeling,
    kinds.MASKED: MaskedLanguageModeling,
    kinds.JOINT: Joint,
    kinds.TRANSLATION: Translation,
    kinds.SUMMARIZATION: Translation,
    kinds.CLASSIFICATION: Classification,
    kinds.SENTIMENT: Classification,
    kinds.TOKENS: TokenClassification,
    kinds.QUESTION_ANSWERING: QuestionAnswering,
    kinds.EMBEDDING: SentenceEmbedding,
}


def make_task(settings: Settings) -> Task:
    """The task of a run."""
    return _TASKS[settings.task.kind](settings)
