"""The .proto files as a client of another language meets them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import google.rpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from protovalidate._gen.buf.validate import validate_pb

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
OURS = sorted(path.relative_to(PROTOS) for path in PROTOS.glob("tessera/**/*.proto"))


def protoc(include: Path, *arguments: str) -> None:
    """Nothing but `include` is at hand, beside what protoc itself brings."""
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{include}", *arguments]
    done = subprocess.run(command, cwd=include, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def described(image: Path) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    files = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes()).file
    return {file.name: file for file in files}


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    command = [sys.executable, str(PROTOS / "export.py"), str(folder / "protos")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "protos"


def test_an_export_holds_all_that_is_imported(exported):
    files = described(exported / "tessera.binpb")
    assert {path.as_posix() for path in OURS} < set(files)
    for file in files.values():
        assert (exported / file.name).is_file()
        assert set(file.dependency) <= set(files)


def test_an_export_has_nothing_of_an_earlier_one(exported):
    left = exported / "tessera" / "left.proto"
    left.write_text("")
    subprocess.run([sys.executable, str(PROTOS / "export.py"), str(exported)], check=True)
    assert not left.exists()


def test_descriptors_can_be_loaded_alone(exported):
    pool = descriptor_pool.DescriptorPool()
    for file in described(exported / "tessera.binpb").values():
        pool.Add(file)
    create = pool.FindMethodByName("tessera.api.controller.v1.JobService.CreateJob")
    assert create.input_type.fields_by_name["spec"].message_type.name == "JobSpec"


def test_descriptors_carry_comments(exported):
    job = described(exported / "tessera.binpb")["tessera/api/controller/v1/job.proto"]
    comments = [location.leading_comments for location in job.source_code_info.location]
    assert any("CreateJob accepts a job" in comment for comment in comments)


@pytest.mark.parametrize("tree", ["exported", "clone"])
def test_protoc_needs_no_other_folder(exported, tree, tmp_path):
    include = exported if tree == "exported" else PROTOS
    outs = [f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}"]
    protoc(include, *outs, *map(str, OURS), "buf/validate/validate.proto")
    made = {path.name for path in (tmp_path / "tessera/api/controller/v1").iterdir()}
    assert {"job_pb2.py", "job_pb2_grpc.py"} <= made


@pytest.mark.parametrize("path", OURS, ids=str)
def test_options_follow_from_the_path(path, tmp_path):
    """Go refuses a file without an import path; two files of one outer class clash in Java."""
    image = tmp_path / "image.binpb"
    protoc(PROTOS, f"--descriptor_set_out={image}", str(path))
    (file,) = described(image).values()
    *_, service, version = path.parent.parts
    assert file.package == ".".join(path.parent.parts)
    assert file.options.go_package == f"{path.parent};{service}{version}"
    assert file.options.java_package == file.package
    assert file.options.java_multiple_files
    assert file.options.java_outer_classname == f"{path.stem.title().replace('_', '')}Proto"


@pytest.mark.parametrize("name", ["error_details.proto", "status.proto"])
def test_errors_are_those_that_are_sent(name):
    """google/rpc is a copy: of what packs the reasons of errors."""
    (theirs,) = (Path(folder) / name for folder in google.rpc.__path__)
    assert (PROTOS / "google" / "rpc" / name).read_bytes() == theirs.read_bytes()


def test_rules_are_those_that_are_enforced(tmp_path):
    """buf/validate is a copy: of the protovalidate that checks requests, but for its options."""
    image = tmp_path / "image.binpb"
    protoc(PROTOS, f"--descriptor_set_out={image}", "buf/validate/validate.proto")
    (ours,) = described(image).values()
    theirs = descriptor_pb2.FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary())
    for file in (ours, theirs):
        # Of the release, managed mode sets these anew.
        file.ClearField("options")
    assert ours == theirs
