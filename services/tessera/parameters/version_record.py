"""What a shard keeps of a committed version beside its bytes, so that a catalogue can be made anew.

The slices are not in it: each shard's indices say which of them it has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from google.protobuf.message import DecodeError

from tessera.api.parameters.v1 import shard_pb2
from tessera.parameters.checked_file import FileKind, read_checked, write_checked
from tessera.parameters.vault import Vault
from tessera.weights import messages
from tessera.weights.manifest import HeadMove, Manifest

NAME = "manifest"
MANIFEST = FileKind("tessera-manifest-1", "manifest", "MANIFEST_DAMAGED")


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """A committed version, how many whole versions its set keeps, and which move of the head it is.

    A `sequence` of 0: older than such numbers are.
    """

    manifest: Manifest
    keep: int
    sequence: int = 0

    @property
    def move(self) -> HeadMove:
        """The move that made it the head."""
        version = self.manifest.version
        return HeadMove(
            sequence=self.sequence or version.number,
            version=version.number,
            time=version.commit_time,
            mover=f"{version.job}/{version.attempt}",
            rollback=False,
        )

    def without(self, groups: frozenset[str]) -> VersionRecord:
        """The record when some groups have been dropped."""
        version = self.manifest.version
        left = tuple(group for group in version.groups if group not in groups)
        return replace(self, manifest=replace(self.manifest, version=replace(version, groups=left)))


def write_record(vault: Vault, folder: str, record: VersionRecord) -> None:
    """Put the record into the folder of its version, durably."""
    message = shard_pb2.ReadHeldResponse(
        manifest=messages.manifest_to_pb(record.manifest),
        keep=record.keep,
        sequence=record.sequence,
    )
    write_checked(vault, f"{folder}/{NAME}", MANIFEST, message.SerializeToString())


def read_record(vault: Vault, folder: str) -> VersionRecord | None:
    """The record in the folder of a version; None if there is none.

    Raises:
        DataLossError: it is not what was written (MANIFEST_DAMAGED).
    """
    name = f"{folder}/{NAME}"
    try:
        message = shard_pb2.ReadHeldResponse.FromString(read_checked(vault, name, MANIFEST))
    except FileNotFoundError:
        return None
    except DecodeError:
        raise MANIFEST.damaged(name) from None
    return record_of(message)


def record_of(message: shard_pb2.ReadHeldResponse) -> VersionRecord:
    """The record that a message carries."""
    return VersionRecord(
        manifest=messages.manifest_from_pb(message.manifest),
        keep=message.keep,
        sequence=message.sequence,
    )
