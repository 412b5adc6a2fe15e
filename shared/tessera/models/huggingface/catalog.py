"""All architectures: which one a checkpoint is, and which one holds a model."""

from __future__ import annotations

from tessera import errors
from tessera.models.config import ModelConfig
from tessera.models.huggingface import bert, fields, generation
from tessera.models.huggingface.architecture import Architecture
from tessera.models.huggingface.bert import Bert
from tessera.models.huggingface.encoder_decoder import EncoderDecoder
from tessera.models.huggingface.form import Misfit
from tessera.models.huggingface.gpt2 import GPT2
from tessera.models.huggingface.keys import require_common
from tessera.models.huggingface.llama import Llama
from tessera.models.huggingface.seq2seq import BART, MARIAN
from tessera.models.huggingface.statement import Statement

ARCHITECTURES: dict[str, Architecture] = {
    one.name: one
    for one in (
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
}
"""By the name of the class in transformers; `register` adds to them."""


def register(new: Architecture) -> None:
    """Make an architecture known; ValueError if there is one of that name."""
    if new.name in ARCHITECTURES:
        raise ValueError(f"there is an architecture `{new.name}` already")
    ARCHITECTURES[new.name] = new


def read(values: Statement, settings: Statement | None) -> tuple[Architecture, ModelConfig]:
    """The architecture of a `config.json` and our config; the statements know what is left.

    Args:
        values: its content.
        settings: the content of `generation_config.json`; None where there is none.

    Raises:
        InvalidArgumentError: UNSUPPORTED_ARCHITECTURE, IMPORT_UNSUPPORTED, or INVALID_CHECKPOINT
            where fields are missing or of another type.
    """
    try:
        architecture = _named(values)
        written = generation.read(values, settings, architecture.writer)
        require_common(values)
        config = architecture.read(values, written)
        generation.account(written, config)
    except KeyError as error:
        raise _invalid(f"it lacks {error}") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise _invalid(str(error)) from None
    return architecture, config


def _named(values: Statement) -> Architecture:
    """The architecture that a config names; of several the first, as in transformers."""
    kind = values.get("model_type")
    names = values.get("architectures") or []
    able = [one.name for one in ARCHITECTURES.values() if one.model_type == kind]
    if not names:
        advice = (
            f'add it, for example ["{able[0]}"], which is the class that the weights are of;'
            f" a {kind} may be {', '.join(able)}"
            if able
            else f"add it: the class that the weights are of, one of {', '.join(ARCHITECTURES)}"
        )
        raise _unsupported(f"the config does not say of what class the model is; {advice}")
    if not isinstance(names, list):
        raise TypeError("architectures is no list")
    if names[0] not in ARCHITECTURES:
        raise _unsupported(
            f"`{names[0]}` cannot be imported; there are: {', '.join(able or ARCHITECTURES)}"
        )
    if names[1:]:
        values.note("architectures", f"{names[1:]} is not followed: the model is a {names[0]}")
    architecture = ARCHITECTURES[names[0]]
    if kind not in {None, architecture.model_type}:
        raise fields.unsupported(
            "model_type",
            f"a {names[0]} is a `{architecture.model_type}`, and this config is of a `{kind}`",
        )
    return architecture


def choose(config: ModelConfig) -> Architecture:
    """The architecture that holds a model.

    Raises:
        FailedPreconditionError: EXPORT_UNSUPPORTED, naming what the nearest one does not have.
    """
    able = [one for one in ARCHITECTURES.values() if one.family == config.family]
    if not able:
        raise errors.FailedPreconditionError.at(
            "model.family",
            f"no architecture of transformers holds a {config.family}",
            "EXPORT_UNSUPPORTED",
        )
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


def _unsupported(description: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError.at(
        "config.json: architectures", description, "UNSUPPORTED_ARCHITECTURE"
    )
