"""Element types in safetensors' spelling and how many bytes an element takes."""

from __future__ import annotations

from tessera import errors

_SIZES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
    "C64": 8,
}

# numpy has neither bfloat16 nor 8-bit floats: their bits travel as unsigned integers.
_NUMPY = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E4M3": "uint8",
    "F8_E5M2": "uint8",
    "U16": "uint16",
    "I16": "int16",
    "F16": "float16",
    "BF16": "uint16",
    "U32": "uint32",
    "I32": "int32",
    "F32": "float32",
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
    "C64": "complex64",
}


def element_size(dtype: str) -> int:
    """Bytes of one element.

    Raises:
        InvalidArgumentError: the type is unknown (reason UNKNOWN_DTYPE).
    """
    try:
        return _SIZES[dtype]
    except KeyError:
        known = ", ".join(_SIZES)
        raise errors.InvalidArgumentError(
            f"unknown element type {dtype!r}; use one of {known}", reason="UNKNOWN_DTYPE"
        ) from None


def numpy_name(dtype: str) -> str:
    """Name of the numpy type that has the same bits, for example uint16 for BF16."""
    element_size(dtype)
    return _NUMPY[dtype]
