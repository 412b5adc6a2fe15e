"""Adapters of PEFT: low-rank products that are added to the weights of a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from tessera import errors
from tessera.models import floats, tasks
from tessera.models.config import ModelConfig
from tessera.models.huggingface.architecture import Architecture
from tessera.models.huggingface.inventory import Located, spellings, unwrapped
from tessera.models.huggingface.keys import known, training
from tessera.models.huggingface.statement import UNSET, Statement
from tessera.models.huggingface.tensors import Array, Tensor, listed

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"

_TOKENS = ".embeddings.tokens.weight"
_PREFIX = "base_model.model."
_PART = re.compile(r"(?P<module>.*)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])"
                   r"(\.default)?(\.weight)?")  # fmt: skip
_AROUND = re.compile(r"\.(base_layer|modules_to_save(\.default)?)(?=\.)")
"""What PEFT puts into the names of the modules that it wraps."""

_REPLACED = ".original_module."

# These begin with what leaves the base as it is; the others take something out of it.
_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")
_REFUSED = (
    "use_dora",
    "lora_bias",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "megatron_config",
    "use_qalora",
    "use_bdlora",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
)
_KNOWN = {
    **known("the tensors say it", "r", "target_modules", "exclude_modules", "layers_to_transform",
            "layers_pattern", "rank_pattern", "modules_to_save", "bias", "ensure_weight_tying"),
    **known("the layers of the base say it", "fan_in_fan_out"),
    **known("says where the file comes from", "peft_version", "auto_mapping", "inference_mode",
            "revision", "base_model_name_or_path"),
    **known("of the code that trained it", "lora_dropout", "megatron_core", "qalora_group_size",
            "loftq_config", "eva_config", "corda_config", "lora_ga_config", "velora_config",
            "runtime_config"),
}  # fmt: skip
_KINDS: Mapping[str, tuple[str, ...]] = {
    "CAUSAL_LM": (tasks.LANGUAGE,),
    "SEQ_2_SEQ_LM": (tasks.TRANSLATION, tasks.SUMMARIZATION),
    "SEQ_CLS": (tasks.CLASSIFICATION, tasks.REGRESSION),
    "TOKEN_CLS": (tasks.TOKENS,),
    "QUESTION_ANS": (tasks.QUESTION_ANSWERING,),
    "FEATURE_EXTRACTION": (tasks.EMBEDDING,),
}
_ADVICE = "merge it in PEFT (`merge_and_unload`), `save_pretrained` the result, and import that"


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What is added to the weight of a layer: scale * B A.

    Args:
        first: A, [r, in].
        second: B, [out, r].
        scale: of the product.
        embedding: whether the layer is an embedding, whose weight is [in, out].
    """

    first: Tensor
    second: Tensor
    scale: float
    embedding: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A tensor with a product added, computed when it is read.

    Args:
        base: the tensor without.
        product: what is added.
        turned: whether the tensor is [in, out].
    """

    base: Tensor
    product: Product
    turned: bool

    @property
    def dtype(self) -> str:
        """The base's."""
        return self.base.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The base's."""
        return self.base.shape

    def read(self) -> Array:
        """The sum, computed in float32 at least."""
        first, second = _numbers(self.product.first), _numbers(self.product.second)
        added = self.product.scale * (second @ first)
        total = _numbers(self.base) + (added.T if self.turned else added)
        kind = "F64" if total.dtype == np.float64 else "F32"
        return floats.converted(total, kind, self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """What is laid over a model.

    Args:
        kind: the task that it was trained for, as PEFT calls it; empty: none is said.
        products: what is added, by the name of the layer.
        replaced: tensors that it has in whole, by their names.
    """

    kind: str
    products: Mapping[str, Product]
    replaced: Mapping[str, Tensor] = field(default_factory=dict)

    def sized(self, config: ModelConfig, architecture: Architecture) -> ModelConfig:
        """The config of a model whose embedding it replaces by one of more tokens, or of fewer."""
        for entry in architecture.plan(config).entries:
            if not entry.ours.endswith(_TOKENS) or config.decoder_vocab_size:
                continue
            for name in spellings(entry.theirs[0], architecture.base):
                tensor = self.replaced.get(name)
                if tensor is not None and len(tensor.shape) > 1:
                    return replace(config, vocab_size=tensor.shape[0])
        return config

    def over(self, located: Located) -> dict[str, Tensor]:
        """The parts of a model with the products added.

        Args:
            located: the model, in which the replaced tensors are already.

        Raises:
            InvalidArgumentError: IMPORT_UNSUPPORTED or INVALID_CHECKPOINT.
        """
        _check_kind(self.kind, located.config)
        parts = dict(located.parts)
        turned = {part: entry.transposed for entry in located.plan.entries for part in entry.parts}
        for layer, product in self.products.items():
            name = located.find(f"{layer}.weight")
            if name is None or (product.embedding and located.config.tie_embeddings):
                raise _refused(f"`{layer}` has an adapter and is tied, or not of the base")
            merged = Merged(
                base=parts[name], product=product, turned=turned[name] or product.embedding
            )
            _check_shape(layer, merged)
            parts[name] = merged
        return parts


def read(values: Statement, stored: Mapping[str, Tensor]) -> Adapter:
    """An adapter.

    Args:
        values: of its config.
        stored: its tensors.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED: it is none that can be merged here.
    """
    values.know({**_KNOWN, **training(lora_dropout=0)})
    kind = values.get("peft_type")
    if kind != "LORA":
        raise _refused(f"peft_type: a `{kind}` cannot be imported, only a LORA")
    if values.whole("init_lora_weights") not in _STARTS:
        raise _refused(f"init_lora_weights: `{values['init_lora_weights']}` changes the base")
    for name in _REFUSED:
        if values.whole(name) not in UNSET:
            raise _refused(f"{name} cannot be imported")
    sides: dict[str, dict[str, Tensor]] = {}
    embeddings = set()
    replaced = {}
    for name, tensor in _own(stored).items():
        part = _PART.fullmatch(name)
        if part is None:
            replaced[name] = tensor
            continue
        sides.setdefault(part["module"], {})[part["side"]] = tensor
        if part["embedding"]:
            embeddings.add(part["module"])
    strange = [name for name in replaced if "lora_" in name]
    if strange:
        raise _refused(f"its tensors {listed(strange)} are of no LoRA that is known here")
    halves = [module for module, pair in sides.items() if len(pair) != len("AB")]
    if halves:
        raise _refused(f"of lora_A and lora_B it has only one for {listed(halves)}")
    products = {
        module: Product(
            first=pair["A"],
            second=pair["B"],
            scale=_scale(values, module, pair["A"].shape[0]),
            embedding=module in embeddings,
        )
        for module, pair in sides.items()
    }
    return Adapter(kind=values.get("task_type") or "", products=products, replaced=replaced)


def _own(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by the names of the base; a module that was replaced is left out."""
    own = {_AROUND.sub("", unwrapped(name).removeprefix(_PREFIX)): name for name in stored}
    return {
        name: stored[there]
        for name, there in own.items()
        if _REPLACED not in name or name.replace(_REPLACED, ".") not in own
    }


def _scale(values: Statement, module: str, rank: int) -> float:
    """Of a layer's product; a pattern for its name wins over what holds for all."""
    alphas = values.whole("alpha_pattern") or {}
    matching = (alpha for key, alpha in alphas.items() if re.match(rf"(.*\.)?({key})$", module))
    alpha = next(matching, values.get("lora_alpha", 8))
    return float(alpha) / (rank**0.5 if values.get("use_rslora") else rank)


def _check_kind(kind: str, config: ModelConfig) -> None:
    able = _KINDS.get(kind)
    if kind and (able is None or config.task.kind not in able):
        raise _refused(f"task_type: it is for {kind}, and its base for {config.task.kind}")


def _check_shape(layer: str, merged: Merged) -> None:
    first, second = merged.product.first, merged.product.second
    shape = (second.shape[0], first.shape[-1])
    wanted = shape[::-1] if merged.turned else shape
    if first.shape[0] != second.shape[-1] or merged.shape != wanted:
        raise errors.InvalidArgumentError(
            f"the adapter of `{layer}` is for a weight of {list(wanted)}, and the base has one of"
            f" {list(merged.shape)}: they do not belong together",
            reason="INVALID_CHECKPOINT",
        )


def _numbers(tensor: Tensor) -> Array:
    return floats.values(tensor.read(), tensor.dtype)


def _refused(description: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError.at(CONFIG, f"{description}; {_ADVICE}", "IMPORT_UNSUPPORTED")
