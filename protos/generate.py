"""Generate shared/tessera/api from protos/, the same bytes every time.

`buf/validate/validate.proto` is not kept here: the installed protovalidate carries its descriptor,
and protoc takes imports from a descriptor set as well as from a file. With `--image FILE` the
descriptors of our own files go there too, for `buf lint` and `buf breaking`.
"""

from __future__ import annotations

import argparse
import json
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

DESCRIBED = "tessera/api/controller/v1/spec.proto"
"""What people write by hand, so that its comments are wanted at run time too."""

MESSAGE, FIELD = (
    descriptor_pb2.FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER,
    descriptor_pb2.DescriptorProto.FIELD_FIELD_NUMBER,
)

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
    (out / "tessera" / "api" / "descriptions.json").write_text(descriptions(imports))


def descriptions(imports: Path) -> str:
    """Comments of the messages and fields of `DESCRIBED`, by full name, as JSON."""
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch) / "image.binpb"
        options = [f"-I{PROTOS}", f"--descriptor_set_out={image}", "--include_source_info"]
        protoc(imports, *options, DESCRIBED)
        files = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes())
    (file,) = files.file
    found: dict[str, str] = {}
    for location in file.source_code_info.location:
        name = file.package
        match list(location.path):
            case [first, message] if first == MESSAGE:
                name += f".{file.message_type[message].name}"
            case [first, message, second, field] if (first, second) == (MESSAGE, FIELD):
                kind = file.message_type[message]
                name += f".{kind.name}.{kind.field[field].name}"
            case _:
                continue
        if comment := " ".join(location.leading_comments.split()):
            found[name] = comment
    return json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


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
