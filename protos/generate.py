"""Generate shared/tessera/api from protos/, the same bytes every time.

`buf/validate` and `google/rpc` are files of the packages that are installed (protovalidate,
googleapis-common-protos). They lie here so that `protoc -I protos` works from a fresh clone, and
that a client in any language can read the reasons of errors. With `--image FILE` only the
descriptors of our files and of what they import are written, for `buf lint` and `buf breaking`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from google.protobuf import descriptor_pb2

DESCRIBED = "tessera/api/controller/v1/spec.proto"
"""What people write by hand, so that its comments are wanted at run time too."""

MESSAGE, FIELD = (
    descriptor_pb2.FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER,
    descriptor_pb2.DescriptorProto.FIELD_FIELD_NUMBER,
)

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
OUT = ROOT / "shared"


def sources() -> list[str]:
    """Our own files, as protoc is told of them."""
    return sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.glob("tessera/**/*.proto"))


def protoc(*arguments: str) -> None:
    """Run protoc on protos/ with the plugins of this interpreter's environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", *arguments],
        check=True,
        env={**os.environ, "PATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )


def generate(out: Path) -> None:
    """Write messages, stubs and their types for our files, and messages for validate.proto."""
    shutil.rmtree(out / "tessera" / "api", ignore_errors=True)
    shutil.rmtree(out / "buf", ignore_errors=True)
    (out / "tessera" / "api").mkdir(parents=True)
    messages = [f"--python_out={out}", f"--mypy_out={out}"]
    protoc(*messages, "buf/validate/validate.proto")
    stubs = [f"--grpc_python_out={out}", f"--mypy_grpc_out={out}"]
    protoc(*messages, *stubs, *sources())
    (out / "tessera" / "api" / "py.typed").touch()
    (out / "tessera" / "api" / "descriptions.json").write_text(descriptions())


def image(path: Path, others: Sequence[str] = ()) -> None:
    """Write a descriptor set of our files, of others and of what all import, with comments."""
    options = [f"--descriptor_set_out={path}", "--include_source_info", "--include_imports"]
    protoc(*options, *sources(), *others)


def descriptions() -> str:
    """Comments of the messages and fields of `DESCRIBED`, by full name, as JSON."""
    with tempfile.TemporaryDirectory() as scratch:
        described = Path(scratch) / "described.binpb"
        protoc(f"--descriptor_set_out={described}", "--include_source_info", DESCRIBED)
        files = descriptor_pb2.FileDescriptorSet.FromString(described.read_bytes())
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
    try:
        if arguments.image:
            image(arguments.image)
        else:
            generate(arguments.out)
    except subprocess.CalledProcessError as error:
        sys.exit(error.stderr)


if __name__ == "__main__":
    main()
