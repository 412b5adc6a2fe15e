"""The configuration of an imported model as it came, which goes out so as long as it is true."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tessera.models.config import ModelConfig
from tessera.models.huggingface.tokenizer import dump

ASSET = "origin.json"
"""The asset that holds it; a version that was trained here has none."""

_CODE = ("auto_map", "custom_pipelines")
"""Keys that name code of a folder, which an export does not have."""

_DTYPES = ("dtype", "torch_dtype")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What the configuration said, and the model that was made of it.

    Args:
        config: of that model.
        values: the content of `config.json`.
        settings: the content of `generation_config.json`; None: there was none.
    """

    config: ModelConfig
    values: Mapping[str, Any]
    settings: Mapping[str, Any] | None

    def assets(self) -> dict[str, bytes]:
        """What a version keeps of it."""
        content = {
            "model": self.config.to_json(),
            "config": self.values,
            "generation_config": self.settings,
        }
        return {ASSET: json.dumps(content, sort_keys=True).encode()}

    def files(self, architecture: str, model_type: str, dtype: str) -> dict[str, bytes]:
        """Name and content of each file.

        Args:
            architecture: name of the class that is written.
            model_type: what its config is called.
            dtype: element type of the weights, as torch calls it.
        """
        kept = {key: item for key, item in self.values.items() if key not in {*_CODE, *_DTYPES}}
        values = {**kept, "model_type": model_type, "architectures": [architecture], "dtype": dtype}
        found = {"config.json": dump(values)}
        if self.settings is not None:
            found["generation_config.json"] = dump(self.settings)
        return found


def read_origin(assets: Mapping[str, bytes], config: ModelConfig) -> Origin | None:
    """What a version keeps of its origin; None where that is no longer true of its model.

    Args:
        assets: of the version.
        config: of its model.
    """
    if ASSET not in assets:
        return None
    content = json.loads(assets[ASSET])
    origin = Origin(
        config=ModelConfig.from_json(content["model"]),
        values=content["config"],
        settings=content["generation_config"],
    )
    return origin if origin.config == config else None
