"""What `datasets` says of columns: the names of numbered classes. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

METADATA = b"huggingface"
"""Key of the features in the schema of a Parquet file that `datasets` or the hub wrote."""

Feature = Any
"""A feature as `Features.to_dict` gives it: a mapping, or a list of one for a list."""


def features_of(metadata: Mapping[bytes, bytes] | None) -> dict[str, Feature]:
    """Features by column, of the metadata of a schema; what cannot be read says nothing."""
    try:
        told = json.loads((metadata or {}).get(METADATA, b"{}"))
        found = told["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return dict(found) if isinstance(found, Mapping) else {}


def has_classes(feature: Feature) -> bool:
    """Whether a feature, or one inside it, numbers classes."""
    if isinstance(feature, Mapping):
        return bool(_names(feature)) or any(map(has_classes, feature.values()))
    return (
        isinstance(feature, Sequence)
        and not isinstance(feature, str)
        and any(map(has_classes, feature))
    )


def named(feature: Feature, value: Any) -> Any:
    """A value with names where it has numbers of classes; -1 stands for none."""
    if isinstance(feature, list) and len(feature) == 1:
        feature = {"feature": feature[0]}
    if value is None or not isinstance(feature, Mapping):
        return value
    names = _names(feature)
    if names and isinstance(value, int):
        return None if value < 0 else names[value] if value < len(names) else value
    inner = feature.get("feature", feature if names else None)
    if isinstance(value, list) and inner is not None:
        return [named(inner, item) for item in value]
    if isinstance(value, Mapping):
        # A list of records may be stored as a record of lists.
        fields = inner if isinstance(inner, Mapping) else feature
        return {name: named(fields.get(name), item) for name, item in value.items()}
    return value


def _names(feature: Mapping[str, Any]) -> Sequence[str]:
    names = feature.get("names")
    return names if feature.get("_type") == "ClassLabel" and isinstance(names, list) else ()
