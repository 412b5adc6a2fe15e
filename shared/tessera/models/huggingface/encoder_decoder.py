"""EncoderDecoderModel: a BERT and a GPT-2 that attends to it."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from tessera.models import tasks
from tessera.models.config import ModelConfig
from tessera.models.huggingface import bert, fields, gpt2
from tessera.models.huggingface.architecture import Architecture
from tessera.models.huggingface.form import Misfit, differ
from tessera.models.huggingface.generation import KEYS, Generation, read_end, read_suppressed
from tessera.models.huggingface.keys import known, require_common
from tessera.models.huggingface.names import linear
from tessera.models.huggingface.statement import Statement
from tessera.models.huggingface.tensors import TensorPlan
from tessera.models.registry import FAMILIES

_HEAD = "decoder.lm_head.weight"
_INNER = known("the whole model says it", "architectures", "decoder_start_token_id", "pad_token_id")
_READER = {
    **known("an encoder writes nothing", *KEYS),
    **known("the encoder has no head that could be tied", "tie_word_embeddings"),
}
_KINDS = (tasks.TRANSLATION, tasks.SUMMARIZATION, tasks.JOINT)


class EncoderDecoder(Architecture):
    """The class; its head is the decoder's."""

    family = "bert_gpt"
    model_type = "encoder-decoder"
    base = ""
    writer = "decoder"

    def read(self, values: Statement, generation: Generation) -> ModelConfig:
        """The config of both stacks; each may have its own vocabulary."""
        encoder, decoder = _parts(values)
        words = decoder["vocab_size"]
        stated = Generation(values, decoder)
        end_id = read_end(stated.get("eos_token_id"), generation)
        return ModelConfig(
            family=self.family,
            vocab_size=encoder["vocab_size"],
            decoder_vocab_size=words,
            encoder=bert.read_stack(encoder),
            decoder=gpt2.read_stack(decoder),
            tie_embeddings=decoder["tie_word_embeddings"],
            task=FAMILIES[self.family].task(tasks.TRANSLATION),
            decoder_start_id=_start(values, generation, words),
            suppress_ids=read_suppressed(generation, end_id, words),
            end_id=end_id,
            pad_id=fields.first(Generation(values, encoder).get("pad_token_id")),
        )

    def misfits(self, config: ModelConfig) -> Iterator[Misfit]:
        """Other choices of a stack, or heads over the sum of both."""
        assert config.encoder is not None
        assert config.decoder is not None
        if config.task.kind not in _KINDS:
            yield Misfit(field="task.kind", found=config.task.kind, wanted=" or ".join(_KINDS))
        yield from bert.stack_misfits(config.encoder)
        yield from gpt2.stack_misfits(config.decoder)
        yield from differ("model.share_embeddings", config.share_embeddings, False)
        yield from differ("model.head_bias", config.head_bias, False)

    def write(self, config: ModelConfig) -> dict[str, Any]:
        """An EncoderDecoderConfig."""
        assert config.encoder is not None
        assert config.decoder is not None
        ids = fields.write_ids(config)
        return {
            "model_type": "encoder-decoder",
            "encoder": {
                **bert.write_stack(config.encoder, config.vocab_size, config.pad_id),
                "tie_word_embeddings": True,
            },
            "decoder": {
                **gpt2.write_stack(config.decoder, config.target_vocab_size),
                "tie_word_embeddings": config.tie_embeddings,
                "add_cross_attention": True,
                "is_decoder": True,
                **ids,
            },
            "is_encoder_decoder": True,
            "tie_word_embeddings": config.tie_embeddings,
            "decoder_start_token_id": fields.or_none(config.first_id),
            "eos_token_id": ids["eos_token_id"],
            "pad_token_id": ids["pad_token_id"],
        }

    def plan(self, config: ModelConfig) -> TensorPlan:
        """The tensors of both stacks and of the decoder's head."""
        assert config.encoder is not None
        assert config.decoder is not None
        encoder = bert.names("encoder.").entries("encoder", config.encoder, config.vocab_size)
        names = gpt2.names("decoder.transformer.", cross=True)
        words = config.target_vocab_size
        decoder = names.entries("decoder", config.decoder, words)
        tied = config.tie_embeddings
        projection = "heads.language.projection"
        head = linear(projection, "decoder.lm_head", (words, config.width), bias=False)
        return TensorPlan(
            entries=(*encoder, *decoder, *(() if tied else head)),
            blanks=bert.blank_pooler(config.width, "encoder."),
            left_out=("heads.masked.",),
            ties=((names.tokens, _HEAD),) if tied else (),
            computed={**bert.BUFFERS, **gpt2.BUFFERS},
            dropped=(bert.POOLER,),
        )

    def fit(self, config: ModelConfig, unlike: AbstractSet[str]) -> ModelConfig:
        """Untied where the decoder's head has a matrix of its own."""
        return replace(config, tie_embeddings=False) if _HEAD in unlike else config

    def notes(self, config: ModelConfig) -> Iterator[str]:
        """The head that the class has no place for."""
        if config.task.kind == tasks.JOINT:
            yield "EncoderDecoderModel has no masked-language head: the encoder's is left out"


def _parts(values: Statement) -> tuple[Statement, Statement]:
    """The configs of both stacks.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED.
    """
    encoder, decoder = values["encoder"].over(bert.DEFAULTS), values["decoder"].over(gpt2.DEFAULTS)
    for side, part, kind in (("encoder", encoder, "bert"), ("decoder", decoder, "gpt2")):
        if part["model_type"] != kind:
            raise fields.unsupported(
                f"{side}.model_type", f"only `{kind}`, not `{part['model_type']}`"
            )
        require_common(part)
        part.know(_INNER)
    encoder.know(_READER)
    decoder.know(known("it is one whatever is said", "is_decoder"))
    values.know(known("the decoder's config says it", "tie_word_embeddings"))
    fields.require(values, is_encoder_decoder=True)
    if not decoder.get("add_cross_attention"):
        raise fields.unsupported("decoder.add_cross_attention", "it must be true")
    if encoder["hidden_size"] != decoder["n_embd"]:
        raise fields.unsupported(
            "decoder.n_embd",
            f"both stacks must have one width, as here {encoder['hidden_size']}",
        )
    fields.require(decoder, is_encoder_decoder=False)
    return encoder, decoder


def _start(values: Statement, generation: Generation, words: int) -> int:
    """The token that the decoder begins with: as in transformers, else the one of a text."""
    every = Generation(*generation.sources, values, values["decoder"])
    starts = [every.get("decoder_start_token_id"), every.get("bos_token_id")]
    start = fields.first(next((token for token in starts if token is not None), None))
    return start if start < words else -1
