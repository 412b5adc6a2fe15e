"""EncoderDecoderModel: a BERT and a GPT-2 that attends to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tessera.models import tasks
from tessera.models.config import ModelConfig
from tessera.models.huggingface import bert, fields, gpt2
from tessera.models.huggingface.architecture import Architecture
from tessera.models.huggingface.fields import Values
from tessera.models.huggingface.form import Misfit, differ
from tessera.models.huggingface.generation import read_end, read_suppressed
from tessera.models.huggingface.names import linear
from tessera.models.huggingface.tensors import Plan
from tessera.models.registry import FAMILIES

_KINDS = (tasks.TRANSLATION, tasks.SUMMARIZATION, tasks.JOINT)


class EncoderDecoder(Architecture):
    """The class; its head is the decoder's."""

    family = "bert_gpt"
    base = ""

    def read(self, values: Values, generation: Values) -> ModelConfig:
        """The config of both stacks; each may have its own vocabulary."""
        parts = {
            "encoder": {**bert.DEFAULTS, **values["encoder"]},
            "decoder": {**gpt2.DEFAULTS, **values["decoder"]},
        }
        encoder, decoder = parts["encoder"], parts["decoder"]
        for side, kind in (("encoder", "bert"), ("decoder", "gpt2")):
            if parts[side]["model_type"] != kind:
                found = parts[side]["model_type"]
                raise fields.unsupported(f"{side}.model_type", f"only `{kind}`, not `{found}`")
        if not decoder.get("add_cross_attention"):
            raise fields.unsupported("decoder.add_cross_attention", "it must be true")
        if encoder["hidden_size"] != decoder["n_embd"]:
            raise fields.unsupported(
                "decoder.n_embd",
                f"both stacks must have one width, as here {encoder['hidden_size']}",
            )
        stated = {name: value for name, value in values.items() if value is not None}
        words = decoder["vocab_size"]
        end_id = read_end(stated.get("eos_token_id", decoder["eos_token_id"]), generation)
        return ModelConfig(
            family=self.family,
            vocab_size=encoder["vocab_size"],
            decoder_vocab_size=words,
            encoder=bert.read_stack(encoder),
            decoder=gpt2.read_stack(decoder),
            tie_embeddings=decoder["tie_word_embeddings"],
            task=FAMILIES[self.family].task(tasks.TRANSLATION),
            decoder_start_id=_start({**stated, **generation}, words),
            suppress_ids=read_suppressed(generation, end_id, words),
            end_id=end_id,
            pad_id=fields.read_ids({"pad_token_id": encoder["pad_token_id"], **stated})["pad_id"],
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

    def plan(self, config: ModelConfig) -> Plan:
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
        return Plan(
            entries=(*encoder, *decoder, *(() if tied else head)),
            blanks=bert.blank_pooler(config.width, "encoder."),
            left_out=("heads.masked.",),
            ignored=(*bert.BUFFERS, *gpt2.BUFFERS, *((r"lm_head\.weight",) if tied else ())),
            dropped=(bert.POOLER,),
        )

    def notes(self, config: ModelConfig) -> Iterator[str]:
        """The head that the class has no place for."""
        if config.task.kind == tasks.JOINT:
            yield "EncoderDecoderModel has no masked-language head: the encoder's is left out"


def _start(values: Values, words: int) -> int:
    """The token that the decoder begins with: as in transformers, else the one of a text."""
    start = fields.read_start(values, values.get("bos_token_id"))
    return start if start < words else -1
