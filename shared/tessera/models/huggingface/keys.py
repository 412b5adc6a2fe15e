"""Keys of a `config.json` that are known whatever its architecture, and not followed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tessera.models.huggingface.fields import unsupported
from tessera.models.huggingface.statement import UNSET, Known, Statement


def known(reason: str, *names: str) -> dict[str, Known]:
    """Keys that change nothing here, whatever their values."""
    return dict.fromkeys(names, Known(reason=reason))


def neutral(reason: str, otherwise: str = "is not followed", **values: Any) -> dict[str, Known]:
    """Keys that change nothing here as long as they have a value: one, or any of a tuple."""
    return {
        name: Known(
            reason=reason,
            neutral=value if isinstance(value, tuple) else (None, value),
            otherwise=otherwise,
        )
        for name, value in values.items()
    }


def training(**values: Any) -> dict[str, Known]:
    """Keys that only training looks at, and the values that they have here."""
    return neutral(
        "ours trains so", "is not followed by training here; answers are the same", **values
    )


COMMON: Mapping[str, Known] = {
    **known(
        "says where the file comes from",
        "_name_or_path",
        "name_or_path",
        "_commit_hash",
        "transformers_version",
    ),
    **known("the weights have an element type", "dtype", "torch_dtype", "use_bfloat16"),
    **known("the weights are given", "initializer_range", "init_std", "initializer_factor"),
    **known(
        "how transformers computes or hands over the same numbers",
        "use_cache",
        "output_past",
        "output_attentions",
        "output_hidden_states",
        "return_dict",
        "tie_last_hidden_states",
        "torchscript",
        "chunk_size_feed_forward",
        "gradient_checkpointing",
        "attn_implementation",
        "_attn_implementation",
        "_attn_implementation_internal",
        "_attn_implementation_autoset",
        "tf_legacy_loss",
        "pretraining_tp",
    ),
    **known("the data of a fine-tuning", "finetuning_task"),
    **known("the folder's tokenizer says it", "tokenizer_class", "sep_token_id", "cls_token_id"),
    **known("the model has no classes", "id2label", "label2id", "num_labels", "_num_labels",
            "problem_type"),
    **neutral("nothing is asked for", task_specific_params=UNSET, prefix=UNSET, tags=UNSET),
    **neutral(
        "there is none",
        "names code of the folder, which is never run",
        auto_map=UNSET,
        custom_pipelines=UNSET,
    ),
}  # fmt: skip
"""Of every architecture; `require_common` adds what is refused."""

CLASSES: Mapping[str, Known] = known("id2label says it", "label2id", "num_labels", "_num_labels")
"""What says again what the names of the classes say."""

_REFUSED: Mapping[str, str] = {
    "quantization_config": "quantized weights cannot be imported: load the model with transformers,"
    " `dequantize()` it and `save_pretrained` it, or take the one that it was made of",
    "compression_config": "compressed weights cannot be imported: take the model that they were"
    " made of",
    "pruned_heads": "",
    "tie_encoder_decoder": "",
    "cross_attention_hidden_size": "",
    "per_layer_config": "",
}
"""What makes another model of any architecture, and what to do."""


def require_common(values: Statement) -> None:
    """Refuse what changes a model of any architecture, and know what changes none.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED.
    """
    values.know(COMMON)
    for name, remedy in _REFUSED.items():
        value = values.whole(name)
        if value not in UNSET:
            raise unsupported(name, remedy or f"it cannot be imported with {value!r}")
