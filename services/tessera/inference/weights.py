"""A version of a set as a model in memory: pulled from the parameter service and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import structlog
import torch
import xxhash
from torch import Tensor

from tessera import errors
from tessera.device import Device
from tessera.dtypes import FLOATS, fits
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.memory import check_fits
from tessera.models.buffers import kept_tensors
from tessera.models.config import ModelConfig
from tessera.models.model import Model
from tessera.models.registry import build, family, load_config
from tessera.models.tokenizer import tokenizer_file
from tessera.rpc.token import Token
from tessera.text.tokenizer import Tokenizer
from tessera.torch_dtypes import dtype_name, torch_dtype
from tessera.weights.box import Box
from tessera.weights.coordinator import Coordinator
from tessera.weights.manifest import Manifest, TensorSpec
from tessera.weights.pull import Want, pull

log = structlog.get_logger()

GROUP = "model"
PIN_SECONDS = 1800.0
"""How long a pin holds unless it is renewed."""


class Loader:
    """Loads versions of one set.

    Args:
        coordinator: of the parameter service.
        token: for the shards.
        set_name: `{tenant}/{name}`.
        owner: under which versions are pinned.
        device: where the weights go.
    """

    def __init__(
        self, coordinator: Coordinator, token: Token, *, set_name: str, owner: str, device: Device
    ) -> None:
        self._coordinator = coordinator
        self._token = token
        self._set = set_name
        self._owner = owner
        self._device = device

    def load(self, version: int = 0) -> LoadedModel:
        """A version, 0: the newest. It stays pinned.

        Raises:
            NotFoundError: there is no such set or version.
            FailedPreconditionError: it is not a model that this build can run, or larger than all
                memory of the device.
            DataLossError: what is in memory is not what was committed.
        """
        manifest = self._coordinator.get_pinned(
            self._set, version, (GROUP,), self._owner, PIN_SECONDS
        )
        number = manifest.version.number
        try:
            return self._load(manifest)
        except BaseException:
            self.unpin(number)
            raise

    def pin(self, version: int) -> None:
        """Keep a version from being dropped, so that a replica that restarts finds it again."""
        self._coordinator.pin_version(self._set, version, self._owner, PIN_SECONDS)

    def unpin(self, version: int) -> None:
        """Let go of a version; a failure is only logged, since pins run out."""
        try:
            self._coordinator.release_pin(self._set, version, self._owner)
        except errors.TesseraError as error:
            log.info("a pin was not released", version=version, message=error.message)

    def _load(self, manifest: Manifest) -> LoadedModel:
        with _read(manifest):
            specs = manifest.group(GROUP)
            config = _config(manifest, len(specs))
            module = _skeleton(config)
            _check_fit(manifest, module, specs)
            tokenizer = _tokenizer(manifest, config)
        size = sum(spec.size for spec in specs.values())
        check_fits(size, self._device.torch, "a model", "serve a smaller one, or on more memory")
        tensors = {name: _empty(spec) for name, spec in specs.items()}
        wants = [
            Want(group=GROUP, name=name, box=specs[name].box, out=_bytes(tensor))
            for name, tensor in tensors.items()
        ]
        report = pull(manifest, wants, self._token)
        _fill(module, {name: tensor.to(self._device.torch) for name, tensor in tensors.items()})
        _compute(module, config, self._device.torch)
        verify(manifest, module)
        log.info(
            "version loaded",
            set=self._set,
            version=manifest.version.number,
            bytes=report.size,
            seconds=round(report.seconds, 3),
        )
        return LoadedModel(
            set=self._set,
            version=manifest.version.number,
            config=config,
            module=module.eval(),
            tokenizer=tokenizer,
        )


@contextmanager
def _read(manifest: Manifest) -> Iterator[None]:
    """What goes wrong inside follows from the version's own bytes: it is unfit, whatever it is."""
    try:
        yield
    except errors.FailedPreconditionError:
        raise
    except Exception as error:
        raise _unfit(manifest, errors.describe(error)) from error


def _config(manifest: Manifest, tensors: int) -> ModelConfig:
    if "config.json" not in manifest.assets:
        raise _unfit(manifest, "it has no asset `config.json`")
    config = load_config(manifest.assets["config.json"])
    family(config.family).check_task(config.task.kind)
    layers = sum(stack.layers for stack in config.stacks)
    if layers > tensors:
        # Before they are made, which would take as long as there are many.
        raise _unfit(manifest, f"config.json has {layers} layers, but there are {tensors} tensors")
    return config


def _tokenizer(manifest: Manifest, config: ModelConfig) -> Tokenizer | None:
    asset, known = manifest.assets.get("tokenizer.json"), family(config.family)
    if asset is None:
        return None
    return tokenizer_file(config, asset).load(bare=known.bare, starts=known.starts)


def digest(tensor: Tensor, box: Box) -> int:
    """The xxh3-64 of a box's bytes, row-major.

    Args:
        tensor: on any device.
        box: within it.
    """
    part = tensor.detach()[box.slices].contiguous().cpu()
    return xxhash.xxh3_64_intdigest(_bytes(part).data)


def verify(manifest: Manifest, module: torch.nn.Module) -> None:
    """Hold the weights and buffers that are in memory against the checksums of the slices.

    Raises:
        DataLossError: they differ.
    """
    tensors = kept_tensors(module)
    for piece in manifest.slices:
        spec = manifest.tensors[piece.tensor]
        if spec.group != GROUP:
            continue
        seen = tensors[spec.name].reshape(spec.shape if piece.view is None else piece.view)
        if digest(seen, piece.box) != piece.checksum:
            raise errors.DataLossError(
                f"tensor {spec.name} of {manifest.version.set}@{manifest.version.number} is not"
                " in memory as it was committed",
                reason="CHECKSUM_MISMATCH",
                metadata={"tensor": spec.name},
            )


def _skeleton(config: ModelConfig) -> Model:
    with torch.device("meta"):
        return build(config)


def _check_fit(
    manifest: Manifest, module: torch.nn.Module, specs: Mapping[str, TensorSpec]
) -> None:
    tensors = kept_tensors(module)
    for name in sorted(tensors.keys() ^ specs.keys()):
        side = "the version lacks" if name in tensors else "the model does not know"
        raise _unfit(manifest, f"{side} tensor `{name}`")
    for name, spec in specs.items():
        ours = tensors[name]
        if spec.shape != tuple(ours.shape):
            raise _unfit(manifest, f"`{name}` has shape {spec.shape}, not {tuple(ours.shape)}")
        if isinstance(ours, torch.nn.Parameter):
            if spec.dtype not in FLOATS:
                raise _unfit(manifest, f"`{name}` is of type {spec.dtype}, which no model runs in")
        elif not fits(spec.dtype, dtype_name(ours.dtype)):
            raise _unfit(
                manifest, f"`{name}` is of type {spec.dtype}, not {dtype_name(ours.dtype)}"
            )


def _unfit(manifest: Manifest, why: str) -> errors.FailedPreconditionError:
    return errors.FailedPreconditionError(
        f"{manifest.version.set}@{manifest.version.number} cannot be served: {why}",
        reason="VERSION_UNFIT",
    )


def _empty(spec: TensorSpec) -> Tensor:
    return torch.empty(spec.shape, dtype=torch_dtype(spec.dtype))


def _bytes(tensor: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A contiguous tensor's memory."""
    return tensor.reshape(-1).view(torch.uint8).numpy()


def _fill(module: torch.nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors in place of a skeleton's parameters and buffers; tied ones stay tied."""
    names = {id(old): name for name, old in kept_tensors(module).items()}
    new = {
        name: torch.nn.Parameter(tensors[name], requires_grad=False)
        if isinstance(old, torch.nn.Parameter)
        else tensors[name]
        for name, old in kept_tensors(module).items()
    }
    for place, old in _places(module):
        if id(old) in names:
            _put(module, place, new[names[id(old)]])


def _compute(module: torch.nn.Module, config: ModelConfig, device: torch.device) -> None:
    """Put what no version keeps in place: buffers that are made with a module and never change."""
    rest = [place for place, tensor in _places(module) if tensor.is_meta]
    if rest:
        made = dict(_places(build(config)))
        for place in rest:
            _put(module, place, made[place].to(device))


def _places(module: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every name of every parameter and buffer."""
    yield from list(module.named_parameters(remove_duplicate=False))
    yield from list(module.named_buffers(remove_duplicate=False))


def _put(module: torch.nn.Module, place: str, tensor: Tensor) -> None:
    owner, _, leaf = place.rpartition(".")
    setattr(module.get_submodule(owner), leaf, tensor)
