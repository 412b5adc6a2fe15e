"""Reading and writing what the configs of all architectures have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tessera import errors
from tessera.models.config import ModelConfig
from tessera.models.huggingface.statement import Statement
from tessera.models.task import TaskConfig

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


def write_ids(config: ModelConfig) -> dict[str, int | None]:
    """The same for a `config.json`."""
    return {theirs: or_none(getattr(config, ours)) for ours, theirs in _IDS.items()}


def or_none(token: int) -> int | None:
    """An id, None for -1."""
    return token if token >= 0 else None


def read_labels(values: Statement) -> tuple[str, ...]:
    """Names of the classes, by their number.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED: the model has no classes but a number.
    """
    found = values.whole("id2label")
    count = int(values.get("num_labels", 2))
    labels = (
        tuple(str(name) for _, name in sorted((int(k), v) for k, v in found.items()))
        if found
        else tuple(f"LABEL_{number}" for number in range(count))
    )
    if values.get("problem_type") == "regression" or len(labels) == 1:
        raise unsupported(
            "problem_type",
            "a regression cannot be imported; import a model with two classes or more",
        )
    return labels


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
    if "classes" in task.heads:
        found["problem_type"] = _MULTI if task.multi_label else _SINGLE
    return found


def first(token: Any) -> int:
    """An id of a config; the first one where there are several, -1 where there is none."""
    if isinstance(token, list):
        token = token[0] if token else None
    return -1 if token is None else int(token)
