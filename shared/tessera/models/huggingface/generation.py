"""How a checkpoint wants texts to be written: what of that is followed, and what is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tessera.models.config import ModelConfig
from tessera.models.huggingface.keys import known, neutral
from tessera.models.huggingface.statement import Known, Statement
from tessera.models.tasks import kind_of

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

_NEUTRAL: Mapping[str, Any] = {
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
    "force_bos_token_to_be_generated": False,
    "begin_suppress_tokens": None,
    "force_words_ids": None,
    "constraints": None,
    "sequence_bias": None,
    "num_beam_groups": 1,
    "num_return_sequences": 1,
    "diversity_penalty": 0,
    "renormalize_logits": False,
    "remove_invalid_values": False,
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

_GAP = "is not followed, and no request can ask for it"

_KNOWN: Mapping[str, Known] = {
    **known(
        "how transformers computes or hands over the same texts",
        "output_attentions",
        "output_hidden_states",
        "output_scores",
        "output_logits",
        "return_dict_in_generate",
        "use_cache",
        "cache_implementation",
        "cache_config",
        "return_legacy_cache",
        "low_memory",
        "prefill_chunk_size",
        "compile_config",
        "disable_compile",
        "is_assistant",
        "num_assistant_tokens",
        "num_assistant_tokens_schedule",
        "assistant_confidence_threshold",
        "assistant_early_exit",
        "assistant_lookbehind",
        "target_lookbehind",
        "prompt_lookup_num_tokens",
        "max_matching_ngram_size",
        "generation_kwargs",
    ),
    **known("says where the file comes from", "transformers_version", "_from_model_config"),
    **known("a prompt begins as its tokenizer frames it", "bos_token_id"),
    **known("answers are not filled up", "pad_token_id"),
    **{
        name: Known(
            reason="transformers does so unless told otherwise",
            neutral=(None, value),
            otherwise=f"is no default here: ask for it with `{field}`",
        )
        for name, (value, field) in _ASKED.items()
    },
    **{
        name: Known(reason="nothing is asked for", neutral=(None, value, [], {}), otherwise=_GAP)
        for name, value in _NEUTRAL.items()
    },
}
"""Keys of a `generation_config.json`, which older checkpoints have in their `config.json`."""

KEYS = (
    *_KNOWN,
    "do_sample",
    "bad_words_ids",
    "suppress_tokens",
    "forced_eos_token_id",
    "decoder_start_token_id",
    "eos_token_id",
)
"""All that is said about writing."""


class Generation:
    """What a checkpoint says about writing.

    Args:
        sources: the statements that say it; of a key of several the first one is right.
        others: statements that may say something else, which does not count.
    """

    def __init__(self, *sources: Statement, others: tuple[Statement, ...] = ()) -> None:
        self.sources = sources
        self.others = others

    def get(self, name: str) -> Any:
        """A value, as plain data; None where it is not stated. It counts as followed."""
        stated = [value for value in (one.whole(name) for one in self.sources) if value is not None]
        return stated[0] if stated else None


def read(values: Statement, settings: Statement | None, inner: str = "") -> Generation:
    """The statements that transformers goes by, which are those of one file.

    Args:
        values: of `config.json`; older checkpoints say it there.
        settings: of `generation_config.json`; None where there is none.
        inner: key of the decoder's own config, which said it once, where it has one.
    """
    configs = (values, values[inner]) if inner else (values,)
    return Generation(settings, others=configs) if settings else Generation(*configs)


def read_end(config_ends: Any, generation: Generation) -> int:
    """The token that ends what is written; -1: none.

    Args:
        config_ends: one or several, as `config.json` has them.
        generation: what `read` found; where it disagrees, it is right.
    """
    return next(iter(read_ends(config_ends, generation)), -1)


def read_ends(config_ends: Any, generation: Generation) -> tuple[int, ...]:
    """All tokens that end what is written, as transformers does it.

    Args:
        config_ends: as of `read_end`.
        generation: as of `read_end`.

    Returns:
        The one that ends a text wherever one is enough comes first.
    """
    stated, ends = _ids(config_ends), _ids(generation.get("eos_token_id"))
    agreed = [token for token in stated if token in ends]
    return tuple(dict.fromkeys([*agreed, *(ends or stated)]))


def read_suppressed(generation: Generation, end_id: int, words: int) -> tuple[int, ...]:
    """Tokens that are never written; longer phrases are not among them.

    Args:
        generation: what `read` found.
        end_id: of the model, which a phrase cannot forbid.
        words: size of the vocabulary; what lies outside is never written anyway.
    """
    phrases = generation.get("bad_words_ids") or ()
    single = {phrase[0] for phrase in phrases if len(phrase) == 1} - {end_id}
    chosen = single | set(generation.get("suppress_tokens") or ())
    return tuple(sorted(token for token in chosen if 0 <= token < words))


def account(generation: Generation, config: ModelConfig) -> None:
    """Let the statements know what a model of ours needs not follow, and note what it does not.

    Args:
        generation: what `read` found.
        config: that was made of it.
    """
    every = (*generation.sources, *generation.others)
    if not kind_of(config.task).writes:
        silent = known("the model writes nothing", *KEYS)
        for one in every:
            one.know({**_KNOWN, **silent})
        return
    for one in generation.others:
        one.know(known("generation_config.json says it", *KEYS))
    for one in generation.sources:
        one.know({**_KNOWN, **_own(config)})
    if not generation.others:
        # A config within a config was once written with every default.
        for one in generation.sources:
            one.know({"top_k": replace(_KNOWN["top_k"], neutral=(None, 0, 50))})
    _gaps(generation)


def _own(config: ModelConfig) -> dict[str, Known]:
    """What changes nothing because a model does so."""
    sampled = config.encoder is None
    chance = (
        "is no default here: ask for it with `sampling.temperature` 0"
        if sampled
        else "is not what Translate does: ask Generate, which samples"
    )
    ends: tuple[Any, ...] = (None, [], config.end_id)
    alone = known("a decoder without an encoder begins with its prompt", "decoder_start_token_id")
    return {
        **(alone if sampled else {}),
        **neutral("ours does so", chance, do_sample=sampled),
        **neutral("ours does so", _GAP, forced_eos_token_id=ends),
    }


def _gaps(generation: Generation) -> None:
    """Note what is followed in part."""
    first = generation.sources[0]
    phrases = [phrase for phrase in generation.get("bad_words_ids") or () if len(phrase) > 1]
    if phrases:
        first.note(
            "bad_words_ids",
            f"{_listed(phrases)} {_GAP}: only single tokens can be forbidden",
        )


def _ids(tokens: Any) -> list[int]:
    """One id, several, or none."""
    if tokens is None:
        return []
    return [int(token) for token in (tokens if isinstance(tokens, list) else [tokens])]


def _listed(values: Sequence[Any]) -> str:
    shown = ", ".join(map(str, values[:3]))
    return f"[{shown}]" if len(values) <= 3 else f"[{shown} and {len(values) - 3} more]"  # noqa: PLR2004
