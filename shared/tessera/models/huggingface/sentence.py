"""The files by which sentence-transformers knows how a model makes one vector of a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tessera import errors
from tessera.models.config import ModelConfig
from tessera.models.dense_config import DENSE_ACTIVATIONS, DenseConfig
from tessera.models.huggingface.keys import known
from tessera.models.huggingface.names import linear
from tessera.models.huggingface.statement import Statement
from tessera.models.huggingface.tensors import Entry
from tessera.models.huggingface.tokenizer import dump
from tessera.models.tasks import EMBEDDING

MODULES = "modules.json"
SIZES = "sentence_bert_config.json"
SETTINGS = "config_sentence_transformers.json"
DENSE = 2
"""The place of the first dense layer among the modules."""

_MODES = {
    "first": ("cls", "cls_token"),
    "max": ("max", "max_tokens"),
    "mean": ("mean", "mean_tokens"),
    "mean_sqrt_len": ("mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
    "weightedmean": ("weightedmean", "weightedmean_tokens"),
    "last": ("lasttoken", "lasttoken"),
}
"""Our poolings, and what newer and older files call them."""

STATES = {
    "transformer_task": "feature-extraction",
    "module_output_name": "token_embeddings",
    "output": "last_hidden_state",
}
"""How sentence-transformers calls what it takes of a model of embeddings."""

_NAMED = ("transformer_task", "module_output_name")

SCORING = {
    "transformer_task": "sequence-classification",
    "module_output_name": "scores",
    "output": "logits",
}
"""The same of one that scores two texts."""

_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "query_length": (None,),
    "document_length": (None,),
    "query_expansion": (None, False, {}),
    "processing_kwargs": (None, {}),
    "model_args": (None, {}),
    "config_args": (None, {}),
    "tokenizer_args": (None, {}),
    "tokenizer_name_or_path": (None,),
}
"""Keys of `sentence_bert_config.json` that ours can have no other values of."""

_ORIGIN = known("says who wrote the file", "__version__", "model_type")


def refused(file: str, name: str, description: str) -> errors.InvalidArgumentError:
    """The error of a file that asks for what no model of ours does."""
    return errors.InvalidArgumentError.at(f"{file}: {name}", description, "IMPORT_UNSUPPORTED")


def read_modules(
    modules: Sequence[Statement], usual: Sequence[str] = ("Transformer", "Pooling")
) -> list[tuple[str, str]]:
    """Kind and folder of every module.

    Args:
        modules: of `modules.json`.
        usual: kinds that must come first; Dense layers and a Normalize may follow a Pooling.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED: there are others than a Transformer, a Pooling,
            Dense layers and a Normalize, in this order.
    """
    found = []
    for module in modules:
        kind, path = str(module["type"]).rpartition(".")[2], str(module.get("path", ""))
        module.know(known("a name", "idx", "name"))
        if module.whole("kwargs") not in (None, [], {}):
            raise refused(MODULES, f"{kind}.kwargs", "only modules without arguments are imported")
        found.append((kind, path))
    kinds = [kind for kind, _ in found]
    middle = ["Dense"] * kinds.count("Dense") if "Pooling" in usual else []
    able = [[*usual, *middle]]
    able += [[*usual, *middle, "Normalize"]] if "Pooling" in usual else []
    if kinds not in able:
        raise refused(
            MODULES,
            "type",
            "only a Transformer, a Pooling, Dense layers and a Normalize can be imported, in this"
            f" order, not {', '.join(kinds)}: save the model without the others",
        )
    return found


def read_pooling(pooling: Statement, width: int) -> dict[str, Any]:
    """The fields of a task that the pooling decides.

    Args:
        pooling: of its config.
        width: of the model's states.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED.
        ValueError: it is of another width.
    """
    stated = pooling.get("embedding_dimension", pooling.get("word_embedding_dimension"))
    if stated is not None and stated != width:
        raise ValueError(f"the pooling is of width {stated}, and the model of {width}")
    flags = [new for new, old in _MODES.values() if pooling.get(f"pooling_mode_{old}")]
    modes = pooling.whole("pooling_mode", flags or ["mean"])
    modes = [modes] if isinstance(modes, str) else list(modes)
    ours = {new: name for name, (new, _) in _MODES.items()}
    if len(modes) != 1 or modes[0] not in ours:
        raise refused(
            "Pooling", "pooling_mode", f"only one of {', '.join(ours)}, not {' + '.join(modes)}"
        )
    include = pooling.get("include_prompt", True)
    return {"pooling": ours[modes[0]], "include_prompt": bool(include)}


def read_dense(layer: Statement, width: int) -> DenseConfig:
    """A layer after the pooling.

    Args:
        layer: its config.
        width: of what comes in.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED.
        ValueError: it is of another width.
    """
    if layer["in_features"] != width:
        raise ValueError(f"a Dense layer takes {layer['in_features']} numbers, and gets {width}")
    for name in ("module_input_name", "module_output_name"):
        if layer.get(name) not in {None, "sentence_embedding"}:
            raise refused("Dense", name, f"only sentence_embedding, not {layer[name]}")
    said = str(layer.get("activation_function", "torch.nn.modules.activation.Tanh"))
    activation = said.rpartition(".")[2].lower()
    if not said.startswith("torch.nn.") or activation not in DENSE_ACTIVATIONS:
        raise refused(
            "Dense",
            "activation_function",
            f"only those of torch.nn called {', '.join(DENSE_ACTIVATIONS)}, not {said}",
        )
    return DenseConfig(
        width=layer["out_features"],
        activation=activation,
        bias=bool(layer.get("bias", True)),
        residual=bool(layer.get("use_residual", False)),
    )


def read_sizes(sizes: Statement, *, templated: bool, task: Mapping[str, str] = STATES) -> bool:
    """Whether texts are made lower case first.

    Args:
        sizes: of `sentence_bert_config.json`.
        templated: whether the tokenizer has a chat template.
        task: what is taken of the model: `STATES` or `SCORING`.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED.
    """
    own = {name: (None, task[name]) for name in _NAMED}
    text = _as_it_is(task)
    for name, values in {**_NEUTRAL, **own}.items():
        value = sizes.whole(name)
        if value not in values:
            raise refused(SIZES, name, f"only {values[-1]!r} can be imported, not {value!r}")
    sizes.know(known("how it computes the same numbers", "unpad_inputs"))
    kinds = sizes.whole("modality_config")
    if kinds not in (None, text):
        raise refused(SIZES, "modality_config", f"only {text} can be imported")
    if templated and kinds is None:
        raise refused(
            SIZES,
            "modality_config",
            "the tokenizer has a chat template, through which sentence-transformers would read"
            f" every text, and ours reads texts as they are: state {text} there, with"
            f" `module_output_name` {task['module_output_name']}, or remove the template",
        )
    return bool(sizes.get("do_lower_case", False))


def _as_it_is(task: Mapping[str, str]) -> dict[str, Any]:
    """How a text is read without a chat template."""
    return {"text": {"method": "forward", "method_output_name": task["output"]}}


def read_longest(sizes: Statement, tokenizer: Mapping[str, Any], context: int) -> int:
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


def read_settings(settings: Statement) -> dict[str, Any]:
    """The fields of a task that `config_sentence_transformers.json` decides.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED.
        ValueError: it makes no sense.
    """
    kind = settings.get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        raise refused(SETTINGS, "model_type", f"only SentenceTransformer, not {kind}")
    if settings.get("truncate_dim") is not None:
        raise refused(SETTINGS, "truncate_dim", "vectors are not cut: cut them where they are used")
    settings.know(_ORIGIN)
    prompts = settings.whole("prompts") or {}
    texts = {str(name): text for name, text in prompts.items() if text is not None}
    if not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("a prompt is no text")
    default = settings.get("default_prompt_name") or ""
    if default and default not in {"query", "document", *prompts}:
        raise ValueError(f"there is no prompt `{default}`, which default_prompt_name names")
    return {
        "prompts": tuple(texts.items()),
        "default_prompt": str(default),
        "similarity": str(settings.get("similarity_fn_name") or ""),
    }


def check_scoring(settings: Statement) -> None:
    """Raise where a CrossEncoder puts a prompt before texts.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED.
    """
    settings.know(_ORIGIN)
    prompts, default = settings.whole("prompts") or {}, settings.get("default_prompt_name")
    if default is not None and prompts.get(default):
        raise refused(
            SETTINGS, "default_prompt_name", "no prompt is put before texts that are scored"
        )


def entries(config: ModelConfig) -> Iterator[Entry]:
    """The tensors of the layers after the pooling, each in the folder of its layer."""
    width = config.width
    for number, layer in enumerate(config.task.dense):
        ours, theirs = f"heads.vectors.dense.{number}", f"{number + DENSE}_Dense/"
        shape = (layer.width, width)
        yield from linear(f"{ours}.linear", f"{theirs}linear", shape, bias=layer.bias)
        if layer.residual and layer.width != width:
            yield from linear(f"{ours}.residual", f"{theirs}residual", shape, bias=False)
        width = layer.width


def files(
    config: ModelConfig, *, lowercase: bool = False, templated: bool = False
) -> dict[str, bytes]:
    """Name and content of each file; none where the model makes no vectors.

    Args:
        config: of the model.
        lowercase: whether the texts are made lower case by these files, and not by the tokenizer.
        templated: whether the tokenizer has a chat template, through which texts do not go.
    """
    task = config.task
    if task.kind != EMBEDDING:
        return {}
    layers = {f"{DENSE + n}_Dense": layer for n, layer in enumerate(task.dense)}
    paths = ["", "1_Pooling", *layers]
    if task.normalize:
        paths.append(f"{len(paths)}_Normalize")
    modules = [
        {
            "idx": number,
            "name": str(number),
            "path": path,
            "type": f"sentence_transformers.models.{path.partition('_')[2] or 'Transformer'}",
        }
        for number, path in enumerate(paths)
    ]
    sizes = _sizes(config, lowercase=lowercase, templated=templated)
    found = {
        MODULES: dump(modules),
        "1_Pooling/config.json": dump(_pooling(config)),
        SIZES: dump(sizes),
    }
    width = config.width
    for path, layer in layers.items():
        found[f"{path}/config.json"] = dump(_dense(layer, width))
        width = layer.width
    if task.prompts or task.default_prompt or task.similarity:
        found[SETTINGS] = dump(
            {
                "prompts": dict(task.prompts),
                "default_prompt_name": task.default_prompt or None,
                "similarity_fn_name": task.similarity or None,
            }
        )
    return found


def _sizes(config: ModelConfig, *, lowercase: bool, templated: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"max_seq_length": config.task.longest or config.context}
    if lowercase:
        found["do_lower_case"] = True
    if templated:
        # What older versions do not know is stated only where it is needed.
        found |= {name: STATES[name] for name in _NAMED}
        found["modality_config"] = _as_it_is(STATES)
    return found


def _pooling(config: ModelConfig) -> dict[str, Any]:
    chosen = config.task.pooling
    modes = {f"pooling_mode_{old}": ours == chosen for ours, (_, old) in _MODES.items()}
    return {
        "word_embedding_dimension": config.width,
        **modes,
        "include_prompt": config.task.include_prompt,
    }


def _dense(layer: DenseConfig, width: int) -> dict[str, Any]:
    names = {"identity": "linear.Identity", "silu": "activation.SiLU", "relu": "activation.ReLU",
             "gelu": "activation.GELU", "tanh": "activation.Tanh",
             "sigmoid": "activation.Sigmoid"}  # fmt: skip
    return {
        "in_features": width,
        "out_features": layer.width,
        "bias": layer.bias,
        "activation_function": f"torch.nn.modules.{names[layer.activation]}",
        **({"use_residual": True} if layer.residual else {}),
    }
