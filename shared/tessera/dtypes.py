"""Element types: names, sizes, and what numpy and the libraries call them. Nothing heavy."""

from __future__ import annotations

from tessera import errors

# By safetensors' spelling in its files: bytes, the numpy type that has the same bits, and the name
# that torch and the safetensors library have. numpy has neither bfloat16 nor smaller floats: their
# bits travel as unsigned integers. What safetensors lacks is spelled alike: complex numbers of two
# halves and of two doubles, and bytes of two 4-bit floats, which torch counts as one element.
_TABLE = {
    "BOOL": (1, "bool", "bool"),
    "U8": (1, "uint8", "uint8"),
    "I8": (1, "int8", "int8"),
    "F8_E4M3": (1, "uint8", "float8_e4m3fn"),
    "F8_E5M2": (1, "uint8", "float8_e5m2"),
    "F8_E4M3FNUZ": (1, "uint8", "float8_e4m3fnuz"),
    "F8_E5M2FNUZ": (1, "uint8", "float8_e5m2fnuz"),
    "F8_E8M0": (1, "uint8", "float8_e8m0fnu"),
    "F4X2": (1, "uint8", "float4_e2m1fn_x2"),
    "U16": (2, "uint16", "uint16"),
    "I16": (2, "int16", "int16"),
    "F16": (2, "float16", "float16"),
    "BF16": (2, "uint16", "bfloat16"),
    "U32": (4, "uint32", "uint32"),
    "I32": (4, "int32", "int32"),
    "F32": (4, "float32", "float32"),
    "U64": (8, "uint64", "uint64"),
    "I64": (8, "int64", "int64"),
    "F64": (8, "float64", "float64"),
    "C32": (4, "uint32", "complex32"),
    "C64": (8, "complex64", "complex64"),
    "C128": (16, "complex128", "complex128"),
}

DTYPES = tuple(_TABLE)
"""Every element type, in safetensors' spelling: all that torch computes with or converts to."""

FLOATS = ("F64", "F32", "F16", "BF16")
"""Those that a model's weights may have."""

IN_FILES = tuple(name for name in DTYPES if name not in {"C32", "C128"})
"""Those that safetensors writes."""


def fits(dtype: str, wanted: str) -> bool:
    """Whether a tensor may have one type where another is expected: the same, or both `FLOATS`."""
    return dtype == wanted or {dtype, wanted} <= set(FLOATS)


def element_size(dtype: str) -> int:
    """Bytes of one element.

    Raises:
        InvalidArgumentError: the type is unknown (reason UNKNOWN_DTYPE).
    """
    return _row(dtype)[0]


def numpy_name(dtype: str) -> str:
    """Name of the numpy type that has the same bits, for example uint16 for BF16.

    Raises:
        InvalidArgumentError: the type is unknown (reason UNKNOWN_DTYPE).
    """
    return _row(dtype)[1]


def library_name(dtype: str) -> str:
    """What torch and the safetensors library call it, for example bfloat16 for BF16.

    Raises:
        InvalidArgumentError: the type is unknown (reason UNKNOWN_DTYPE).
    """
    return _row(dtype)[2]


def _row(dtype: str) -> tuple[int, str, str]:
    try:
        return _TABLE[dtype]
    except KeyError:
        known = ", ".join(_TABLE)
        raise errors.InvalidArgumentError(
            f"unknown element type {dtype!r}; use one of {known}", reason="UNKNOWN_DTYPE"
        ) from None
