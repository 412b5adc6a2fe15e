"""The files by which sentence-transformers knows how a model makes one vector of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tessera.models import tasks
from tessera.models.config import ModelConfig
from tessera.models.huggingface.fields import unsupported
from tessera.models.huggingface.tokenizer import dump

MODULES = "modules.json"
SIZES = "sentence_bert_config.json"
_MODES = {"first": "cls_token", "mean": "mean_tokens", "last": "lasttoken"}
_OTHERS = ("max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens")
_SHORT = {"cls": "first", "mean": "mean", "lasttoken": "last"}


def pooling_path(modules: Sequence[Mapping[str, Any]]) -> str:
    """Where the pooling's config is, for a `modules.json`.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED: it has other modules than the usual ones.
    """
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise unsupported(
            MODULES, f"only Transformer, Pooling and Normalize can be imported, not {kinds}"
        )
    return f"{modules[1]['path']}/config.json"


def read(modules: Sequence[Mapping[str, Any]], pooling: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a task.

    Args:
        modules: of `modules.json`.
        pooling: of the pooling's config.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED.
    """
    found = pooling.get("pooling_mode", _legacy(pooling))
    modes = [found] if isinstance(found, str) else list(found)
    if len(modes) != 1 or modes[0] not in _SHORT:
        raise unsupported("pooling_mode", f"only one of {', '.join(_SHORT)}, not {modes}")
    return {"pooling": _SHORT[modes[0]], "normalize": len(modules) > 2}  # noqa: PLR2004


def read_longest(sizes: Mapping[str, Any], tokenizer: Mapping[str, Any], context: int) -> int:
    """Tokens of a text that a vector is made of, as a `TaskConfig` has it.

    Args:
        sizes: of `sentence_bert_config.json`; newer folders leave the number to the tokenizer.
        tokenizer: of `tokenizer_config.json`.
        context: of the model, in tokens.

    Raises:
        ValueError: it is not positive.
    """
    stated = sizes.get("max_seq_length")
    limit = tokenizer.get("model_max_length") if stated is None else stated
    if limit is None or (stated is None and limit >= context):
        return 0
    if int(limit) < 1:
        raise ValueError(f"a text of at most {limit} tokens")
    return int(limit)


def files(config: ModelConfig) -> dict[str, bytes]:
    """Name and content of each file; none where the model makes no vectors."""
    if config.task.kind != tasks.EMBEDDING:
        return {}
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    kinds = list(paths) if config.task.normalize else ["Transformer", "Pooling"]
    modules = [
        {
            "idx": number,
            "name": str(number),
            "path": paths[kind],
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, kind in enumerate(kinds)
    ]
    modes = {f"pooling_mode_{name}": False for name in (*_MODES.values(), *_OTHERS)}
    modes[f"pooling_mode_{_MODES[config.task.pooling]}"] = True
    return {
        MODULES: dump(modules),
        "1_Pooling/config.json": dump({"word_embedding_dimension": config.width, **modes}),
        SIZES: dump({"max_seq_length": config.task.longest or config.context}),
    }


def _legacy(pooling: Mapping[str, Any]) -> list[str]:
    chosen = [key for key, value in pooling.items() if key.startswith("pooling_mode_") and value]
    return [key.removeprefix("pooling_mode_").removesuffix("_token").removesuffix("_tokens")
            for key in chosen]  # fmt: skip
