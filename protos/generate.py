"""Generate shared/tessera/api from protos/, the same bytes every time.

`buf/validate/validate.proto` is not kept here: the installed protovalidate carries its descriptor,
and protoc takes imports from a descriptor set as well as from a file. With `--image FILE` the
descriptors of our own files go there too, for `buf lint` and `buf breaking`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import (
    descriptor_pb2,
    duration_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
)
from protovalidate._gen.buf.validate import validate_pb

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
OUT = ROOT / "shared"


def imported_descriptors() -> bytes:
    """The files that ours import, as a serialized FileDescriptorSet."""
    files = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, struct_pb2, timestamp_pb2):
        module.DESCRIPTOR.CopyToProto(files.file.add())
    files.file.add().ParseFromString(validate_pb.desc().proto.to_binary())
    return files.SerializeToString()


def protoc(imports: Path, *arguments: str) -> None:
    """Run protoc with the plugins of this interpreter's environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={imports}", *arguments],
        check=True,
        env={**os.environ, "PATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )


def generate(out: Path, imports: Path, sources: list[str]) -> None:
    """Write messages, stubs and their types for our files, and messages for validate.proto."""
    shutil.rmtree(out / "tessera" / "api", ignore_errors=True)
    shutil.rmtree(out / "buf", ignore_errors=True)
    (out / "tessera" / "api").mkdir(parents=True)
    messages = [f"--python_out={out}", f"--mypy_out={out}"]
    protoc(imports, *messages, "buf/validate/validate.proto")
    stubs = [f"--grpc_python_out={out}", f"--mypy_grpc_out={out}"]
    protoc(imports, f"-I{PROTOS}", *messages, *stubs, *sources)
    (out / "tessera" / "api" / "py.typed").touch()


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="root of the generated tree")
    parser.add_argument("--image", type=Path, help="write a descriptor image here, nothing else")
    arguments = parser.parse_args()
    sources = sorted(str(path) for path in PROTOS.glob("tessera/**/*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        imports = Path(scratch) / "imports.binpb"
        imports.write_bytes(imported_descriptors())
        try:
            if arguments.image:
                image = [f"--descriptor_set_out={arguments.image}", "--include_source_info"]
                protoc(imports, f"-I{PROTOS}", *image, "--include_imports", *sources)
            else:
                generate(arguments.out, imports, sources)
        except subprocess.CalledProcessError as error:
            sys.exit(error.stderr)


if __name__ == "__main__":
    main()
