"""The state of every random generator of a rank, as bytes of fixed length."""

from __future__ import annotations

import random
import struct
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tessera.device import Device

Bytes = NDArray[np.uint8]

_PYTHON = struct.Struct("<i625I?d")
_NUMPY = struct.Struct("<624Iiid")


def seed_all(seed: int) -> None:
    """Seed every generator of this process."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the global generator is the user's to draw from
    torch.manual_seed(seed)


def capture(device: Device) -> dict[str, Bytes]:
    """Every generator's state by name; the same names and lengths on every rank."""
    version, words, gauss = random.getstate()
    python = _PYTHON.pack(version, *words, gauss is not None, gauss or 0.0)
    legacy: Any = np.random.get_state(legacy=True)  # noqa: NPY002 - the same
    numpy = _NUMPY.pack(*legacy[1].tolist(), legacy[2], legacy[3], legacy[4])
    states = {
        "torch": torch.get_rng_state().numpy().copy(),
        "python": np.frombuffer(python, dtype=np.uint8),
        "numpy": np.frombuffer(numpy, dtype=np.uint8),
    }
    own = device.rng_state()
    if own is not None:
        states["device"] = own.numpy().copy()
    return states


def restore(states: dict[str, Bytes], device: Device) -> None:
    """Put back what `capture` returned; what is not there stays."""
    if "torch" in states:
        torch.set_rng_state(torch.from_numpy(states["torch"].copy()))
    if "python" in states:
        version, *words, has_gauss, gauss = _PYTHON.unpack(states["python"].tobytes())
        random.setstate((version, tuple(words), gauss if has_gauss else None))
    if "numpy" in states:
        *keys, position, has_gauss, cached = _NUMPY.unpack(states["numpy"].tobytes())
        state = ("MT19937", np.array(keys, dtype=np.uint32), position, has_gauss, cached)
        np.random.set_state(state)  # noqa: NPY002 - the same
    if "device" in states:
        device.set_rng_state(torch.from_numpy(states["device"].copy()))
