"""Write what a client in any language needs: every .proto, those of others too, and descriptors.

The folder stands alone: `protoc -I FOLDER` finds all imports in it. `tessera.binpb` is a
FileDescriptorSet of the same files, with their comments, for what takes descriptors instead.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import generate
import grpc_tools
from google.protobuf import descriptor_pb2

DESCRIPTORS = "tessera.binpb"
ERRORS = ["google/rpc/error_details.proto", "google/rpc/status.proto"]
GOOGLE = Path(grpc_tools.__file__).parent / "_proto"


def export(out: Path) -> list[str]:
    """Write the files below `out`, a folder that is emptied first; returns their names."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    generate.image(out / DESCRIPTORS, ERRORS)
    descriptors = (out / DESCRIPTORS).read_bytes()
    names = [file.name for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file]
    for name in names:
        ours = generate.PROTOS / name
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ours if ours.exists() else GOOGLE / name, out / name)
    return names


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write; what it holds is removed")
    arguments = parser.parse_args()
    try:
        names = export(arguments.out)
    except subprocess.CalledProcessError as error:
        sys.exit(error.stderr)
    print(f"{arguments.out}: {len(names)} .proto files and {DESCRIPTORS}")  # noqa: T201 - its answer


if __name__ == "__main__":
    main()
