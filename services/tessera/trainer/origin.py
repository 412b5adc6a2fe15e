"""Which version a run begins with, and what it takes over from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tessera import errors
from tessera.models.config import GPTConfig
from tessera.models.registry import family
from tessera.trainer import resume
from tessera.trainer.failure import UserError
from tessera.trainer.gang import Gang
from tessera.trainer.settings import Settings
from tessera.weights.coordinator import Coordinator
from tessera.weights.manifest import Grant, Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Where versions come from and go to.

    Args:
        coordinator: of the parameter service.
        token: for the bulk data.
        tenant: that the sets belong to.
        job: that writes.
        attempt: of the job.
    """

    coordinator: Coordinator
    token: str
    tenant: str
    job: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a run begins.

    Args:
        grant: the right to write; None: nothing is committed.
        manifest: the version to load; None: random weights.
    """

    grant: Grant | None = None
    manifest: Manifest | None = None

    @property
    def resumed(self) -> bool:
        """Whether the version is this job's own, to be gone on with exactly."""
        return self.grant is not None and self.grant.resume is not None

    @property
    def version(self) -> tuple[int, int]:
        """Newest version of this job and its step; zeros if none."""
        if self.grant is None or self.grant.resume is None:
            return 0, 0
        return self.grant.resume.number, self.grant.resume.step

    def tokenizer(self, settings: Settings) -> bytes | None:
        """The tokenizer that the version brings, unless the spec names another one."""
        if self.manifest is None or (settings.tokenizer_path and not self.resumed):
            return None
        return self.manifest.assets["tokenizer.json"]

    def config(self, settings: Settings, vocab_size: int) -> GPTConfig:
        """Sizes of the model: the spec's, and where it is silent the version's.

        Raises:
            UserError: INIT_MISMATCH, SEQUENCE_LONGER_THAN_CONTEXT.
        """
        sizes: dict[str, Any] = dict(settings.sizes)
        if self.manifest is not None:
            sizes = {**asdict(resume.config_of(self.manifest)), **sizes}
        config = family(settings.family).config(
            **{**sizes, "family": settings.family, "vocab_size": vocab_size}
        )
        if self.manifest is not None:
            resume.check_warm_start(config, self.manifest)
        if settings.sequence_length > config.context:
            description = (
                f"{settings.sequence_length} tokens do not fit a context of {config.context}"
            )
            raise UserError.at("train.sequence_length", description, "SEQUENCE_LONGER_THAN_CONTEXT")
        return config


def find_origin(store: Store | None, settings: Settings, gang: Gang) -> Origin:
    """Become the set's writer and choose the version to begin with; every rank calls it.

    Raises:
        UserError: INIT_NOT_FOUND.
    """
    if store is None:
        return Origin()
    grant = gang.led(lambda: _acquire(store, settings))
    if grant.resume is not None:
        manifest = store.coordinator.get_manifest(grant.set, grant.resume.number)
        return Origin(grant=grant, manifest=manifest)
    if not settings.init:
        return Origin(grant=grant)
    return Origin(grant=grant, manifest=gang.led(lambda: _named(store, settings.init)))


def _acquire(store: Store, settings: Settings) -> Grant:
    return store.coordinator.acquire_writer(
        f"{store.tenant}/{settings.publish_set}", store.job, store.attempt, settings.publish_keep
    )


def _named(store: Store, init: str) -> Manifest:
    name, _, number = init.partition("@")
    try:
        return store.coordinator.get_manifest(f"{store.tenant}/{name}", int(number or 0), ["model"])
    except (errors.NotFoundError, errors.InvalidArgumentError, ValueError) as error:
        raise UserError.at("model.init.from", str(error), "INIT_NOT_FOUND") from None
