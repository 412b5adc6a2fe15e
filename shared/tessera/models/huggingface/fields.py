"""Reading and writing what the configs of all architectures have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tessera import errors
from tessera.models.config import ModelConfig
from tessera.models.huggingface.statement import Known, Statement
from tessera.models.task import IDENTITY, SIGMOID, TaskConfig
from tessera.models.tasks import CLASSIFICATION, REGRESSION, SENTIMENT, kind_of

Values = Mapping[str, Any]

ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu", "silu": "silu"}
"""Our activations without a gate, and their names."""

_OURS = {
    **{theirs: ours for ours, theirs in ACTIVATIONS.items()},
    "gelu_pytorch_tanh": "gelu_tanh",
    "swish": "silu",
}
_IDS = {"start_id": "bos_token_id", "end_id": "eos_token_id", "pad_id": "pad_token_id"}
_MULTI, _SINGLE = "multi_label_classification", "single_label_classification"
_REGRESSION = "regression"
_SCORES = {IDENTITY: "torch.nn.Identity", SIGMOID: "torch.nn.Sigmoid"}
"""What makes a score of a logit: ours, and what sentence-transformers calls it."""


def unsupported(name: str, description: str) -> errors.InvalidArgumentError:
    """The error of a field of `config.json` that holds what no model of ours does."""
    return errors.InvalidArgumentError.at(f"config.json: {name}", description, "IMPORT_UNSUPPORTED")


def require(values: Statement, **wanted: Any) -> None:
    """Raise unless fields, where they are there, have the only values that ours can have.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED.
    """
    for name, value in wanted.items():
        stated = values.whole(name, value)
        if stated is not None and stated != value:
            raise unsupported(name, f"only {value!r} can be imported, not {stated!r}")


def activation(values: Statement, name: str, default: str) -> str:
    """Our name of an activation.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED.
    """
    found = values.get(name, default)
    if found not in _OURS:
        raise unsupported(name, f"`{found}` is none of {', '.join(_OURS)}")
    return _OURS[found]


def read_ids(values: Statement) -> dict[str, Any]:
    """The special tokens of a config, as keyword arguments of ours."""
    return {ours: first(values.get(theirs)) for ours, theirs in _IDS.items()}


def write_ids(config: ModelConfig) -> dict[str, int | list[int] | None]:
    """The same for a `config.json`; several tokens that end a text as a list."""
    ids = {theirs: or_none(getattr(config, ours)) for ours, theirs in _IDS.items()}
    several = {"eos_token_id": list(config.end_ids)} if len(config.end_ids) > 1 else {}
    return {**ids, **several}


def or_none(token: int) -> int | None:
    """An id, None for -1."""
    return token if token >= 0 else None


def read_labels(values: Statement, *, single: bool = False) -> tuple[str, ...]:
    """Names of the classes, by their number.

    Args:
        values: of the config.
        single: whether there may be one alone, which is then a score.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED: the model has no classes but numbers.
    """
    found = values.whole("id2label")
    count = int(values.get("num_labels", 2))
    labels = (
        tuple(str(name) for _, name in sorted((int(k), v) for k, v in found.items()))
        if found
        else tuple(f"LABEL_{number}" for number in range(count))
    )
    if len(labels) > 1 and values.get("problem_type") == _REGRESSION:
        raise unsupported(
            "problem_type", f"a regression of {len(labels)} numbers cannot be imported, only of one"
        )
    if len(labels) == 1 and not single:
        raise unsupported("id2label", "tokens of a single class cannot be imported")
    return labels


def read_classes(values: Statement) -> dict[str, Any]:
    """The classes of a text or what its score is, as keyword arguments of `Family.task`.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED.
    """
    labels, multi_label = read_labels(values, single=True), is_multi_label(values)
    choices: dict[str, Any] = {"labels": labels, "multi_label": multi_label}
    if len(labels) > 1:
        return {"kind": CLASSIFICATION, **choices}
    kind = CLASSIFICATION if multi_label else REGRESSION
    return {"kind": kind, **choices, "activation": read_score(values)}


def written_kind(task: TaskConfig) -> str:
    """The kind of task that a class of transformers for it is known by."""
    return CLASSIFICATION if task.kind in {SENTIMENT, REGRESSION} else task.kind


def read_score(values: Statement) -> str:
    """What makes a score of the logit of a single class, as a `TaskConfig` has it.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED.
    """
    own = values.get("sentence_transformers")
    stated = own.get("activation_fn") if isinstance(own, Statement) else None
    if isinstance(own, Statement):
        own.know({"version": Known(reason="says who wrote the file")})
    older = values.get("sbert_ce_default_activation_function")
    regression = values.get("problem_type") == _REGRESSION
    return activation_of(stated or older) or (IDENTITY if regression else SIGMOID)


def activation_of(said: Any) -> str:
    """Ours of an activation that sentence-transformers names; empty where none is named.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED.
    """
    if said is None:
        return ""
    ours = {path: name for name, path in _SCORES.items()}
    path = str(said).replace("torch.nn.modules.activation.", "torch.nn.")
    path = path.replace("torch.nn.modules.linear.", "torch.nn.")
    if path not in ours:
        raise unsupported("activation_fn", f"only one of {', '.join(ours)}, not {said}")
    return ours[path]


def is_multi_label(values: Statement) -> bool:
    """Whether each class stands for itself."""
    return bool(values.get("problem_type") == _MULTI)


def write_labels(task: TaskConfig) -> dict[str, Any]:
    """The classes for a `config.json`."""
    if not task.labels:
        return {}
    found: dict[str, Any] = {
        "id2label": {str(number): label for number, label in enumerate(task.labels)},
        "label2id": {label: number for number, label in enumerate(task.labels)},
    }
    if kind_of(task).scores:
        path = _SCORES[task.activation].replace("torch.nn.", "torch.nn.modules.{}.")
        path = path.format("linear" if task.activation == IDENTITY else "activation")
        found["sentence_transformers"] = {"activation_fn": path}
        if task.activation == IDENTITY:
            found["problem_type"] = _REGRESSION
    elif "classes" in kind_of(task).head_names:
        found["problem_type"] = _MULTI if task.multi_label else _SINGLE
    return found


def first(token: Any) -> int:
    """An id of a config; the first one where there are several, -1 where there is none."""
    if isinstance(token, list):
        token = token[0] if token else None
    return -1 if token is None else int(token)
