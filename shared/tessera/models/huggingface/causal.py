"""What the classes of all decoders without an encoder have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from tessera.models import tasks
from tessera.models.config import ModelConfig, StackConfig
from tessera.models.huggingface import fields, sentence
from tessera.models.huggingface.architecture import Architecture
from tessera.models.huggingface.fields import Values
from tessera.models.huggingface.form import Misfit, differ
from tessera.models.huggingface.generation import Generation, read_end, read_suppressed
from tessera.models.huggingface.keys import CLASSES
from tessera.models.huggingface.names import StackNames, linear
from tessera.models.huggingface.statement import Statement
from tessera.models.huggingface.tensors import Computed, Entry, TensorPlan
from tessera.models.registry import FAMILIES

_HEAD = "lm_head.weight"


class Causal(Architecture):
    """One class of a decoder."""

    family = "gpt"
    defaults: Values
    kinds: Mapping[str, str]
    """Our task of each of its classes."""

    token_head: str
    """Name of the head over every token."""

    @abstractmethod
    def buffers(self, stack: StackConfig) -> Mapping[str, Computed]:
        """What is stored although it follows from the config, by the pattern of its name."""

    @abstractmethod
    def read_stack(self, values: Statement) -> StackConfig:
        """The decoder of a config.

        Raises:
            InvalidArgumentError: IMPORT_UNSUPPORTED.
        """

    @abstractmethod
    def write_stack(self, stack: StackConfig, vocab_size: int) -> dict[str, Any]:
        """The config of a decoder."""

    @abstractmethod
    def stack_misfits(self, stack: StackConfig) -> Iterator[Misfit]:
        """Why it cannot hold a decoder."""

    @abstractmethod
    def names(self, prefix: str) -> StackNames:
        """What its tensors are called below a prefix."""

    @property
    def kind(self) -> str:
        """Our task of this class."""
        return self.kinds[self.name]

    def read(self, values: Statement, generation: Generation) -> ModelConfig:
        """The config of a decoder and the task of the class."""
        values = values.over(self.defaults)
        fields.require(values, is_encoder_decoder=False)
        choices: dict[str, Any] = {"kind": self.kind}
        if self.kind in {tasks.CLASSIFICATION, tasks.TOKENS}:
            values.know(CLASSES)
        if self.kind == tasks.CLASSIFICATION:
            choices.update(fields.read_classes(values))
        elif self.kind == tasks.TOKENS:
            choices["labels"] = fields.read_labels(values)
        ids = {
            **fields.read_ids(values),
            "end_id": read_end(values["eos_token_id"], generation),
        }
        return ModelConfig(
            family=self.family,
            vocab_size=values["vocab_size"],
            decoder=self.read_stack(values),
            tie_embeddings=values["tie_word_embeddings"],
            task=FAMILIES[self.family].task(**choices),
            suppress_ids=read_suppressed(generation, ids["end_id"], values["vocab_size"]),
            unread_id=ids["pad_id"] if self.kind == tasks.CLASSIFICATION else -1,
            **ids,
        )

    def misfits(self, config: ModelConfig) -> Iterator[Misfit]:
        """Other choices of the stack, or of the head."""
        assert config.decoder is not None
        yield from differ("task.kind", fields.written_kind(config.task), self.kind)
        yield from self.stack_misfits(config.decoder)
        if self.kind == tasks.LANGUAGE:
            yield from differ("model.head_bias", config.head_bias, False)
        if self.kind == tasks.CLASSIFICATION:
            yield from differ("task.pooling", config.task.pooling, "last")
            yield from differ("task.pooler", config.task.pooler, False)
            yield from differ("task.bias", config.task.bias, False)

    def write(self, config: ModelConfig) -> dict[str, Any]:
        """The decoder's config with the special tokens and the classes."""
        assert config.decoder is not None
        return {
            **self.write_stack(config.decoder, config.vocab_size),
            "tie_word_embeddings": config.tie_embeddings,
            **fields.write_ids(config),
            **({"pad_token_id": None} if self._hides_end(config) else {}),
            **fields.write_labels(config.task),
        }

    def plan(self, config: ModelConfig) -> TensorPlan:
        """The decoder's tensors and those of the head."""
        assert config.decoder is not None
        prefix = "" if self.kind == tasks.EMBEDDING else f"{self.base}."
        entries = [
            *self.names(prefix).entries("decoder", config.decoder, config.vocab_size),
            *self._head(config),
        ]
        tied = config.tie_embeddings or self.kind != tasks.LANGUAGE
        words = self.names(prefix).tokens
        return TensorPlan(
            entries=tuple(entries),
            ties=((words, _HEAD),) if tied else (),
            computed=self.buffers(config.decoder),
        )

    def fit(self, config: ModelConfig, unlike: AbstractSet[str]) -> ModelConfig:
        """Untied where the head has a matrix of its own."""
        untied = _HEAD in unlike and self.kind == tasks.LANGUAGE
        return replace(config, tie_embeddings=False) if untied else config

    def notes(self, config: ModelConfig) -> Iterator[str]:
        """What transformers would do otherwise than ours."""
        if self._hides_end(config):
            yield (
                "texts are filled up with the token that ends them, and transformers would read the"
                " class before it: pad_token_id is null, so it takes one text at a time"
            )

    def _hides_end(self, config: ModelConfig) -> bool:
        """Whether transformers would take the end of a text for padding."""
        return self.kind == tasks.CLASSIFICATION and config.pad_id == config.end_id

    def _head(self, config: ModelConfig) -> Iterator[Entry]:
        words = (config.vocab_size, config.width)
        outputs = (tasks.outputs(config.task), config.width)
        if self.kind == tasks.LANGUAGE and not config.tie_embeddings:
            yield from linear("heads.language.projection", "lm_head", words, bias=False)
        elif self.kind == tasks.CLASSIFICATION:
            yield from linear("heads.classes.projection", "score", outputs, bias=False)
        elif self.kind == tasks.EMBEDDING:
            yield from sentence.entries(config)
        elif self.kind == tasks.TOKENS:
            yield from linear("heads.tokens.projection", self.token_head, outputs)
