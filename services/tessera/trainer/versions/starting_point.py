"""Which versions a run begins with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from tessera import errors
from tessera.models.config import ModelConfig
from tessera.models.registry import load_config
from tessera.models.tokenizer import tokenizer_file
from tessera.rpc.token import Token
from tessera.spec.reference import parse_reference
from tessera.text.file import TokenizerFile
from tessera.trainer.failure import UserError
from tessera.trainer.ranks import Ranks
from tessera.trainer.settings import Settings
from tessera.weights.coordinator import READ_SECONDS, Coordinator
from tessera.weights.manifest import Grant, Manifest, TensorSpec

WHOLE, ENCODER, DECODER = "from", "encoder", "decoder"
"""What is taken of a version, as the fields of `model.init` call it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterStore:
    """Where versions come from and go to.

    Args:
        coordinator: of the parameter service.
        token: for the bulk data.
        tenant: that the sets belong to.
        job: that writes.
        attempt: of the job.
    """

    coordinator: Coordinator
    token: Token
    tenant: str
    job: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class InitVersion:
    """A version that first weights are taken from.

    Args:
        part: `from`, `encoder` or `decoder`.
        manifest: of the version.
        config: of its model.
    """

    part: str
    manifest: Manifest
    config: ModelConfig

    @property
    def field(self) -> str:
        """Where the spec names it."""
        return f"model.init.{self.part}"

    @property
    def prefix(self) -> str:
        """What the names of its tensors begin with."""
        return "" if self.part == WHOLE else f"trunk.{self.part}."

    @property
    def tokenizer(self) -> TokenizerFile | None:
        """Its tokenizer; imported models may lack one."""
        content = self.manifest.assets.get("tokenizer.json")
        return None if content is None else tokenizer_file(self.config, content)

    @cached_property
    def tensors(self) -> dict[str, TensorSpec]:
        """Its weights by name."""
        return self.manifest.group("model")

    def __str__(self) -> str:
        version = self.manifest.version
        return f"{version.set}@{version.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartingPoint:
    """Where a run begins.

    Args:
        grant: the right to write; None: nothing is committed.
        own: the version of this very job to go on from exactly; None: it begins anew.
        sources: versions that the first weights are taken from; none: they are random.
    """

    grant: Grant | None = None
    own: InitVersion | None = None
    sources: tuple[InitVersion, ...] = ()

    @property
    def version(self) -> tuple[int, int]:
        """Newest version of this job and its step; zeros if none."""
        if self.own is None:
            return 0, 0
        version = self.own.manifest.version
        return version.number, version.step

    def speaker(self, settings: Settings) -> InitVersion | None:
        """The version whose tokenizer is taken; None: the spec names one, or it is learned."""
        if self.own is not None:
            return self.own
        if settings.tokenizer_path:
            return None
        return next((s for s in self.sources if s.tokenizer is not None), None)

    def tokenizer(self, settings: Settings) -> TokenizerFile | None:
        """The tokenizer that a version brings, unless the spec names another one.

        Raises:
            UserError: INIT_WITHOUT_TOKENIZER.
        """
        speaker = self.speaker(settings)
        if speaker is None and self.sources and not settings.tokenizer_path:
            description = f"{self.sources[0]} brings no tokenizer; name the one that it has"
            raise UserError.at("tokenizer.path", description, "INIT_WITHOUT_TOKENIZER")
        return None if speaker is None else speaker.tokenizer

    def labels(self, settings: Settings) -> tuple[str, ...]:
        """The classes that a version has for the same task, unless the spec names others."""
        if self.own is not None:
            return self.own.config.task.labels
        tasks = [source.config.task for source in self.sources if source.part == WHOLE]
        if settings.task.labels or not tasks or tasks[0].kind != settings.task.kind:
            return ()
        return tasks[0].labels

    def first_id(self, settings: Settings) -> int:
        """The token that a version's decoder begins with; -1: the tokenizer's start."""
        if self.own is not None:
            return self.own.config.first_id
        whole = [source.config for source in self.sources if source.part == WHOLE]
        return whole[0].first_id if whole and not settings.tokenizer_path else -1


def find_starting_point(
    store: ParameterStore | None, settings: Settings, ranks: Ranks
) -> StartingPoint:
    """Become the set's writer and choose the versions to begin with; every rank calls it.

    Raises:
        UserError: INIT_NOT_FOUND or INVALID_REFERENCE.
    """
    if store is None:
        return StartingPoint()
    grant = ranks.on_main(lambda: _acquire(store, settings))
    if grant.resume is not None:
        manifest = store.coordinator.get_manifest(grant.set, grant.resume.number)
        return StartingPoint(grant=grant, own=_source(WHOLE, manifest))
    named = (
        (WHOLE, settings.init),
        (ENCODER, settings.init_encoder),
        (DECODER, settings.init_decoder),
    )
    found = [(part, ranks.on_main(_finder(store, part, name))) for part, name in named if name]
    return StartingPoint(grant=grant, sources=tuple(_source(*pair) for pair in found))


def _acquire(store: ParameterStore, settings: Settings) -> Grant:
    return store.coordinator.acquire_writer(
        f"{store.tenant}/{settings.publish_set}", store.job, store.attempt, settings.publish_keep
    )


def _finder(store: ParameterStore, part: str, init: str) -> Callable[[], Manifest]:
    field = f"model.init.{part}"

    def find() -> Manifest:
        try:
            reference = parse_reference(init, field)
            name = f"{store.tenant}/{reference.set_of(store.tenant, field)}"
            # The pin runs out by itself, when every rank has read what it needs.
            owner = f"init-{store.job}-{store.attempt}"
            return store.coordinator.get_pinned(
                name, reference.version, ["model"], owner, READ_SECONDS
            )
        except errors.InvalidArgumentError as error:
            raise UserError.at(field, error.message, error.reason) from None
        except errors.NotFoundError as error:
            raise UserError.at(field, str(error), "INIT_NOT_FOUND") from None

    return find


def _source(part: str, manifest: Manifest) -> InitVersion:
    return InitVersion(
        part=part, manifest=manifest, config=load_config(manifest.assets["config.json"])
    )
