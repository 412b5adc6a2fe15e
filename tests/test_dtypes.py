"""One table of element types, which agrees with numpy, torch and the safetensors library."""

from __future__ import annotations

import ast
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save
from sources import files

from tessera import errors
from tessera.dtypes import DTYPES, FLOATS, element_size, library_name, numpy_name
from tessera.torch_dtypes import dtype_name, torch_dtype

OURS = {"C32", "C128", "F4X2"}
"""What safetensors does not have, or counts otherwise."""

SPELLINGS = {"bfloat16", "BF16", "float16", "F16"}
MAY = {
    "shared/tessera/dtypes.py": "the table",
    "shared/tessera/models/floats.py": "how precise each of them is",
}


@pytest.mark.parametrize("dtype", DTYPES)
def test_sizes_and_names_agree_with_the_libraries(dtype):
    assert np.dtype(numpy_name(dtype)).itemsize == element_size(dtype)
    assert torch_dtype(dtype).itemsize == element_size(dtype)
    assert dtype_name(torch_dtype(dtype)) == dtype
    assert str(torch_dtype(dtype)) == f"torch.{library_name(dtype)}"
    if dtype not in OURS:
        written = save({"x": torch.zeros(3, dtype=torch_dtype(dtype))})
        assert f'"dtype":"{dtype}"'.encode() in written


def test_all_that_torch_has_is_known_but_what_has_no_bytes():
    """Quantized tensors keep their scales elsewhere; types of fewer bits are names without use."""
    there = {kind for kind in vars(torch).values() if isinstance(kind, torch.dtype)}
    without = re.compile(r"torch\.(q|quint|uint[1-7]$|int[1-7]$|bits)")
    unknown = {kind for kind in there if without.match(str(kind))}
    assert {torch_dtype(name) for name in DTYPES} == there - unknown
    for kind in unknown:
        with pytest.raises(errors.InvalidArgumentError, match="cannot be kept") as caught:
            dtype_name(kind)
        assert caught.value.reason == "UNKNOWN_DTYPE"


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_bits_of_any_type_go_out_and_come_back(dtype):
    from tessera.trainer.versions.layout import fill, to_bytes  # noqa: PLC0415 - slow to load

    kind = torch_dtype(dtype)
    bits = torch.randint(0, 2 if dtype == "BOOL" else 256, (24 * kind.itemsize,), dtype=torch.uint8)
    part = torch.zeros(24 * kind.itemsize, dtype=torch.uint8).view(kind).reshape(4, 6)
    fill(part, bits.numpy(), dtype)
    assert to_bytes(part).tobytes() == bits.numpy().tobytes()


def test_what_a_model_may_have_is_told_apart_by_its_bits():
    assert len({numpy_name(dtype) for dtype in FLOATS}) == len(FLOATS)


def test_an_unknown_type_lists_those_that_are_known():
    for ask in (element_size, numpy_name, library_name):
        with pytest.raises(errors.InvalidArgumentError, match="BF16") as caught:
            ask("F4")
        assert caught.value.reason == "UNKNOWN_DTYPE"


def test_no_module_keeps_a_table_of_its_own():
    assert {file for file, tree in files().items() if _has_table(tree)} == MAY.keys()


def _has_table(tree: ast.Module) -> bool:
    """Whether a dict has two spellings of narrow floats among its keys, or among its values."""
    return any(
        len(SPELLINGS & {_word(node) for node in side if node is not None}) > 1
        for table in ast.walk(tree)
        if isinstance(table, ast.Dict)
        for side in (table.keys, table.values)
    )


def _word(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
