"""All architectures: which one a checkpoint is, and which one holds a model."""

from __future__ import annotations

from collections.abc import Mapping

from tessera import errors
from tessera.models.config import ModelConfig
from tessera.models.huggingface import bert, generation
from tessera.models.huggingface.architecture import Architecture
from tessera.models.huggingface.bert import Bert
from tessera.models.huggingface.encoder_decoder import EncoderDecoder
from tessera.models.huggingface.fields import Values
from tessera.models.huggingface.form import Misfit
from tessera.models.huggingface.gpt2 import GPT2
from tessera.models.huggingface.llama import Llama
from tessera.models.huggingface.seq2seq import BART, MARIAN

_ALL: tuple[Architecture, ...] = (
    *(
        Bert(name)
        for name in (
            bert.MASKED,
            bert.PRETRAINING,
            bert.BASE,
            bert.CLASSES,
            bert.TOKENS,
            bert.ANSWERS,
        )
    ),
    *(GPT2(name) for name in GPT2.kinds),
    *(Llama(name) for name in Llama.kinds),
    BART,
    MARIAN,
    EncoderDecoder("EncoderDecoderModel"),
)
ARCHITECTURES: Mapping[str, Architecture] = {one.name: one for one in _ALL}
"""By the name of the class in transformers."""


def read(values: Values, settings: Values) -> tuple[Architecture, ModelConfig, list[str]]:
    """The architecture of a `config.json`, our config, and what is not followed.

    Args:
        values: its content.
        settings: the content of `generation_config.json`; empty where there is none.

    Raises:
        InvalidArgumentError: UNSUPPORTED_ARCHITECTURE, IMPORT_UNSUPPORTED, or INVALID_CHECKPOINT
            where fields are missing or of another type.
    """
    found = values.get("architectures") or ["none"]
    if found[0] not in ARCHITECTURES:
        raise errors.InvalidArgumentError.at(
            "config.json: architectures",
            f"`{found[0]}` cannot be imported; there are: {', '.join(ARCHITECTURES)}",
            "UNSUPPORTED_ARCHITECTURE",
        )
    architecture = ARCHITECTURES[found[0]]
    try:
        written = generation.read(values, settings)
        config = architecture.read(values, written)
        return architecture, config, list(generation.notes(written, config))
    except KeyError as error:
        raise _invalid(f"it lacks {error}") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise _invalid(str(error)) from None


def choose(config: ModelConfig) -> Architecture:
    """The architecture that holds a model.

    Raises:
        FailedPreconditionError: EXPORT_UNSUPPORTED, naming what the nearest one does not have.
    """
    able = [one for one in _ALL if one.family == config.family]
    found: list[tuple[Architecture, list[Misfit]]] = [
        (one, list(one.misfits(config))) for one in able if one.name != bert.PRETRAINING
    ]
    # A class for another task is further away than one with other stacks.
    architecture, misfits = min(
        found, key=lambda item: (any(m.field == "task.kind" for m in item[1]), len(item[1]))
    )
    if misfits:
        first = misfits[0]
        raise errors.FailedPreconditionError.at(
            first.field,
            f"no architecture of transformers holds this model; {architecture.name} comes nearest,"
            f" but {'; '.join(map(str, misfits))}",
            "EXPORT_UNSUPPORTED",
        )
    return architecture


def _invalid(description: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError.at("config.json", description, "INVALID_CHECKPOINT")
