from __future__ import annotations

import subprocess
import sys

import pytest

from tessera import errors
from tessera.models.config import GPTConfig
from tessera.models.registry import FAMILIES, family, load_config


@pytest.mark.parametrize("preset", ["tiny", "mini", "small"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_count_of_parameters_is_the_modules(preset, tied):
    sizes = {**FAMILIES["gpt"].presets[preset], "tie_embeddings": tied}
    config = GPTConfig(vocab_size=300, **sizes)
    module = FAMILIES["gpt"].build(config)
    assert config.parameters == sum(p.numel() for p in module.parameters())


def test_gpt2_has_124_million():
    config = GPTConfig(vocab_size=50257, **FAMILIES["gpt"].presets["gpt2"])
    assert config.parameters == 124_439_808


def test_json_keeps_everything():
    config = GPTConfig(vocab_size=300, width=48, heads=3, dropout=0.1, tie_embeddings=False)
    assert load_config(config.to_json()) == config
    assert GPTConfig.from_json(config.to_json().encode()) == config


@pytest.mark.parametrize(
    ("sizes", "field", "reason"),
    [
        ({"heads": 3, "width": 64}, "model.heads", "HEADS_DO_NOT_DIVIDE_WIDTH"),
        ({"layers": 0}, "model.layers", "INVALID_FIELD"),
        ({"width": -4}, "model.width", "INVALID_FIELD"),
    ],
)
def test_wrong_sizes_name_their_field(sizes, field, reason):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        GPTConfig(vocab_size=300, **sizes)
    assert caught.value.reason == reason
    assert caught.value.violations[0].field == field


def test_an_unknown_family_is_told_its_neighbour():
    with pytest.raises(errors.InvalidArgumentError, match="did you mean `gpt`") as caught:
        family("gtp")
    assert caught.value.reason == "UNKNOWN_FAMILY"


@pytest.mark.parametrize("text", ["[]", "{", '{"family": "gpt"}'])
def test_what_is_no_config_is_refused(text):
    with pytest.raises(errors.InvalidArgumentError):
        load_config(text)


def test_the_registry_loads_no_torch():
    code = "import sys, tessera.models.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
