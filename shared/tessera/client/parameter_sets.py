"""What the parameter service holds: sets and their versions, and models in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tessera import errors
from tessera.client import checked_folder, hub, imports
from tessera.client.blobs import Progress
from tessera.client.connection import Connection
from tessera.client.diff import VersionDiff, diff
from tessera.client.export import Exported, export
from tessera.client.jobs import Jobs
from tessera.spec.reference import parse_reference, parse_set
from tessera.weights.coordinator import Coordinator
from tessera.weights.manifest import HeadMove, ParameterSet, ShardStatus, Verification, Version

ACTIVE = ("QUEUED", "STARTING", "RUNNING", "STOPPING", "CANCELLING")
"""States of jobs that have not ended."""


class ParameterSets:
    """Lists, compares, moves and ends what is held, and brings in what others made.

    Args:
        connection: to the controller.
        jobs: of the tenant, which may write sets.
        coordinator: of the parameter service.
        reach: asks the controller something: where none answers that fails at once, and clearly,
            while looking for the coordinator would wait.
    """

    def __init__(
        self,
        connection: Connection,
        jobs: Jobs,
        coordinator: Coordinator,
        reach: Callable[[], object],
    ) -> None:
        self._connection = connection
        self._jobs = jobs
        self._coordinator = coordinator
        self._reach = reach

    def sets(self) -> list[ParameterSet]:
        """The parameter sets, by name."""
        self._reach()
        return self._coordinator.list_sets()

    def versions(self, name: str) -> list[Version]:
        """The committed versions of a set, newest first.

        Raises:
            NotFoundError: there is no such set.
        """
        self._reach()
        return self._coordinator.list_versions(
            parse_reference(name).full_name(self._connection.tenant)
        )

    def verify(self, reference: str) -> Iterator[Verification]:
        """Have all of `set@version` (or the newest of `set`) read and held against its checksums.

        Yields:
            How far it is, about twice a second; the last says all that is damaged.

        Raises:
            InvalidArgumentError: INVALID_REFERENCE.
            NotFoundError: there is no such set or version.
            UnavailableError: a shard is away (SHARD_UNAVAILABLE).
        """
        self._reach()
        named = parse_reference(reference, "version")
        name = named.full_name(self._connection.tenant)
        return self._coordinator.verify_version(name, named.version)

    def rollback(self, reference: str) -> HeadMove:
        """Make `set@version` what readers of `set` get; nothing is dropped.

        The next commit moves on from there: end a job that goes on writing what is not wanted.

        Raises:
            InvalidArgumentError: INVALID_REFERENCE, also where no version is named.
            NotFoundError: there is no such set or version.
            FailedPreconditionError: something of the version is damaged (VERSION_DAMAGED).
        """
        named = parse_reference(reference, "version")
        if not named.version:
            raise errors.InvalidArgumentError.at(
                "version",
                f"`{reference}` names no version; say which, as in `{reference}@3`: `tessera"
                " versions` lists them",
                "INVALID_REFERENCE",
            )
        self._reach()
        name = named.full_name(self._connection.tenant)
        return self._coordinator.rollback_set(name, named.version)

    def head_moves(self, name: str) -> list[HeadMove]:
        """What readers of a set got, newest first: each commit, and each rollback.

        Raises:
            NotFoundError: there is no such set.
        """
        self._reach()
        full = parse_reference(name).full_name(self._connection.tenant)
        return self._coordinator.list_head_moves(full)

    def delete_set(self, name: str, *, force: bool = False) -> tuple[int, int]:
        """Drop all versions of a set, and the set; returns how many, and their bytes.

        Args:
            name: of the set.
            force: also if versions are pinned (a replica serves them) or being written.

        Raises:
            InvalidArgumentError: INVALID_REFERENCE.
            NotFoundError: there is no such set.
            FailedPreconditionError: it is in use (SET_IN_USE), or a job that has not ended writes
                it (SET_BUSY), without `force`.
        """
        self._reach()
        full = f"{self._connection.tenant}/{parse_set(name)}"
        if not force:
            self._check_free(full)
        return self._coordinator.delete_set(full, force=force)

    def shards(self) -> list[ShardStatus]:
        """The shards that hold the versions, by name. For operators."""
        self._reach()
        return self._coordinator.list_shards()

    def drain_shard(self, name: str, *, undo: bool = False) -> None:
        """Let a shard take nothing new, and have what it holds copied to others. For operators.

        Args:
            name: of the shard.
            undo: let it take part again.

        Raises:
            NotFoundError: there is no such shard.
            FailedPreconditionError: it is the last one that is not drained (LAST_SHARD).
        """
        self._reach()
        self._coordinator.drain_shard(name, undo=undo)

    def remove_shard(self, name: str) -> None:
        """Forget a shard that is drained. For operators.

        Raises:
            NotFoundError: there is no such shard.
            FailedPreconditionError: it is not draining (NOT_DRAINING), or something lies nowhere
                else (SHARD_NEEDED).
        """
        self._reach()
        self._coordinator.remove_shard(name)

    def diff(
        self, old: str, new: str, *, group: str = "model", progress: Progress | None = None
    ) -> VersionDiff:
        """What lies between two versions, tensor by tensor.

        Args:
            old: `set@version`, or `set` for what its readers get.
            new: the other one, of the same set or of another.
            group: whose tensors: `model`, `optimizer`, `ema` or `state`.
            progress: hears how many bytes have been compared, and of how many.

        Raises:
            InvalidArgumentError: INVALID_REFERENCE.
            NotFoundError: there is no such set, version or group.
        """
        self._reach()
        sides = [parse_reference(text, "version") for text in (old, new)]
        first, second = ((s.full_name(self._connection.tenant), s.version) for s in sides)
        token = self._connection.token
        return diff(self._coordinator, token, first, second, group, progress)

    def export(self, reference: str, folder: str | Path, *, force: bool = False) -> Exported:
        """Write `set@version` (or the newest of `set`) as a folder that transformers loads.

        Raises:
            InvalidArgumentError: INVALID_REFERENCE.
            AlreadyExistsError: the folder is not empty and `force` is not set.
            NotFoundError: there is no such set or version.
            FailedPreconditionError: EXPORT_UNSUPPORTED: transformers has no such model.
        """
        named = parse_reference(reference, "version")
        name = named.full_name(self._connection.tenant)
        self._reach()
        return export(
            self._coordinator,
            self._connection.token,
            name,
            named.version,
            Path(folder),
            force=force,
        )

    def import_model(
        self,
        source: str | Path,
        name: str,
        *,
        revision: str = "",
        base: str | Path = "",
        progress: Progress | None = None,
    ) -> imports.Imported:
        """Commit a model of Hugging Face's as a version of a set.

        Args:
            source: a folder that `save_pretrained` wrote, or a repository of the hub.
            name: of the set, which is made if need be.
            revision: of the repository: a branch, tag or commit; empty: its main branch.
            base: of an adapter: the folder or repository of the model that it is for; empty: the
                one that the adapter names.
            progress: called with bytes done and bytes in all.

        Raises:
            InvalidArgumentError: INVALID_REFERENCE, or what it holds cannot be imported.
            NotFoundError: there is no such folder or repository, or no model in it.
            FailedPreconditionError: a job that has not ended writes this set (SET_BUSY), an
                adapter's base cannot be had, or a package is not installed.
            UnavailableError: the hub does not answer.
        """
        whole = f"{self._connection.tenant}/{parse_set(name)}"
        self._check_free(whole)
        found = checked_folder.read(hub.locate(str(source), revision), str(base))
        origin = f"{source}@{revision}" if revision else str(source)
        token = self._connection.token
        return imports.commit(self._coordinator, token, whole, found, origin, progress)

    def _check_free(self, name: str) -> None:
        """Raise where a job still writes a set, which would be taken away from it."""
        for state in ACTIVE:
            for job in self._jobs.list(f"state={state}"):
                if f"{job.tenant}/{job.spec.publish.set}" == name:
                    raise errors.FailedPreconditionError(
                        f"job {job.id} writes the set {name}: take another one, or wait",
                        reason="SET_BUSY",
                    )
