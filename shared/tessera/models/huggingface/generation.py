"""How a checkpoint wants texts to be written: what of that is followed, and what is not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tessera.models.config import ModelConfig
from tessera.models.huggingface.fields import Values

_ASKED: Mapping[str, tuple[Any, str]] = {
    "max_length": (20, "max_tokens"),
    "max_new_tokens": (None, "max_tokens"),
    "num_beams": (1, "beams"),
    "length_penalty": (1, "length_penalty"),
    "temperature": (1, "sampling.temperature"),
    "top_k": (0, "sampling.top_k"),
    "top_p": (1, "sampling.top_p"),
    "stop_strings": (None, "stop"),
}
"""What requests can ask for: the value that changes nothing, and the field of a request."""

_UNKNOWN: Values = {
    "min_length": 0,
    "min_new_tokens": 0,
    "early_stopping": False,
    "max_time": None,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "repetition_penalty": 1,
    "encoder_repetition_penalty": 1,
    "exponential_decay_length_penalty": None,
    "forced_bos_token_id": None,
    "forced_decoder_ids": None,
    "begin_suppress_tokens": None,
    "force_words_ids": None,
    "constraints": None,
    "sequence_bias": None,
    "num_beam_groups": 1,
    "diversity_penalty": 0,
    "renormalize_logits": False,
    "token_healing": False,
    "min_p": 0,
    "typical_p": 1,
    "top_h": None,
    "epsilon_cutoff": 0,
    "eta_cutoff": 0,
    "penalty_alpha": 0,
    "dola_layers": None,
    "guidance_scale": 1,
    "watermarking_config": None,
}
"""What nothing here does, and the value that changes nothing."""

_SHOWN = 3


def read(values: Values, generation: Values) -> Values:
    """The values that transformers goes by, which are those of one file.

    Args:
        values: of `config.json`; older checkpoints say it there or, if their decoder has a config
            of its own, in that.
        generation: of `generation_config.json`; empty where there is none.
    """
    if generation:
        return _stated(generation)
    stated = {**_stated(values.get("decoder") or {}), **_stated(values)}
    # A config within a config was once written with every default.
    return {name: value for name, value in stated.items() if (name, value) != ("top_k", 50)}


def read_end(config_ends: Any, generation: Values) -> int:
    """The token that ends what is written; -1: none.

    Args:
        config_ends: one or several, as `config.json` has them.
        generation: what `read` found; where it disagrees, it is right.
    """
    known, ends = _ids(config_ends), _ids(generation.get("eos_token_id"))
    agreed = [token for token in known if token in ends]
    return (agreed or ends or known or [-1])[0]


def read_suppressed(generation: Values, end_id: int, words: int) -> tuple[int, ...]:
    """Tokens that are never written; longer phrases are not among them.

    Args:
        generation: what `read` found.
        end_id: of the model, which a phrase cannot forbid.
        words: size of the vocabulary; what lies outside is never written anyway.
    """
    phrases = generation.get("bad_words_ids") or ()
    single = {phrase[0] for phrase in phrases if len(phrase) == 1} - {end_id}
    found = single | set(generation.get("suppress_tokens") or ())
    return tuple(sorted(token for token in found if 0 <= token < words))


def notes(generation: Values, config: ModelConfig) -> Iterator[str]:
    """What is not followed of what `read` found, in a sentence each."""
    if config.task.writes:
        for sentence in (*_defaults(generation, config), *_gaps(generation, config)):
            yield f"generation: {sentence}"


def _defaults(generation: Values, config: ModelConfig) -> Iterator[str]:
    """What a request has to ask for."""
    for name, (neutral, field) in _ASKED.items():
        if _is_set(generation, name, neutral):
            yield f"{_said(name, generation[name])} is no default here: ask for it with `{field}`"
    chance = generation.get("do_sample")
    if chance is False and config.encoder is None:
        yield "do_sample false is no default here: ask for it with `sampling.temperature` 0"
    if chance and config.encoder is not None:
        yield "do_sample true is not what Translate does: ask Generate, which samples"


def _gaps(generation: Values, config: ModelConfig) -> Iterator[str]:
    """What no request can ask for."""
    others = {**_UNKNOWN, "forced_eos_token_id": config.end_id}
    for name, neutral in others.items():
        if _is_set(generation, name, neutral):
            yield f"{_said(name, generation[name])} is not followed, and no request can ask for it"
    phrases = [phrase for phrase in generation.get("bad_words_ids") or () if len(phrase) > 1]
    if phrases:
        yield (
            f"{_said('bad_words_ids', phrases)} is not followed, and no request can ask for it:"
            " only single tokens can be forbidden"
        )
    ends = [token for token in _ids(generation.get("eos_token_id")) if token != config.end_id]
    if ends:
        yield (
            f"{_said('eos_token_id', ends)} is not followed, and no request can ask for it: only"
            f" {config.end_id} ends an answer"
        )


def _stated(values: Values) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _ids(tokens: Any) -> list[int]:
    """One id, several, or none."""
    if tokens is None:
        return []
    return [int(token) for token in (tokens if isinstance(tokens, list) else [tokens])]


def _is_set(generation: Values, name: str, neutral: Any) -> bool:
    """Whether a value is there and changes something."""
    return generation.get(name, neutral) not in (neutral, [], {})


def _said(name: str, value: Any) -> str:
    """A name with its value, of which only the beginning is shown where it is long."""
    if isinstance(value, list) and len(value) > _SHOWN:
        beginning = ", ".join(json.dumps(each) for each in value[:_SHOWN])
        return f"{name} [{beginning} and {len(value) - _SHOWN} more]"
    return f"{name} {json.dumps(value)}"
