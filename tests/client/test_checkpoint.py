"""Folders that hold a model in another way than it is read, each refused with what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tessera import errors
from tessera.client import checked_folder
from tessera.client.folder import Folder


def refused(folder, kind=errors.InvalidArgumentError):
    with pytest.raises(kind) as caught:
        checked_folder.read(folder)
    return caught.value.reason, str(caught.value)


@pytest.fixture
def sharded(gpt2, tmp_path):
    """The GPT-2 in several files."""
    import transformers as hf  # noqa: PLC0415 - slow to load

    hf.logging.set_verbosity_error()
    hf.GPT2LMHeadModel.from_pretrained(gpt2).save_pretrained(tmp_path / "s", max_shard_size="2kB")
    return tmp_path / "s"


def test_a_shard_that_is_missing_is_named(sharded):
    lost = sorted(sharded.glob("*.safetensors"))[1]
    lost.unlink()
    reason, said = refused(sharded)
    assert reason == "INVALID_CHECKPOINT"
    assert lost.name in said
    assert "fetch the rest" in said


def test_a_tensor_in_two_shards_is_refused(sharded):
    first, second = sorted(sharded.glob("*.safetensors"))[:2]
    save_file({**load_file(first), **load_file(second)}, second)
    reason, said = refused(sharded)
    assert reason == "INVALID_CHECKPOINT"
    assert second.name in said


def test_a_shard_that_the_index_does_not_name_is_named(sharded):
    index = sharded / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    path = sharded / "model-00099-of-00099.safetensors"
    shutil.copy(min(sharded.glob("*.safetensors")), path)
    content["zz"] = 1
    index.write_text(json.dumps(content))
    notes = checked_folder.read(sharded).notes
    assert [note for note in notes if note.startswith(f"{path.name} was not read")]
    assert [note for note in notes if note.startswith(f"{index.name}: zz 1")]


def test_of_two_forms_of_weights_one_is_read_and_the_other_named(copy, sharded):
    for path in sharded.glob("model*"):
        shutil.copy(path, copy / path.name)
    (copy / "tf_model.h5").write_bytes(b"?")
    notes = checked_folder.read(copy).notes
    shards = [path.name for path in sharded.glob("model*")]
    for name in (*shards, "tf_model.h5"):
        assert [note for note in notes if note.startswith(f"{name} was not read: weights in")]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pytorch_model.bin", "PICKLED_WEIGHTS"),
        ("pytorch_model-00001-of-00002.bin", "PICKLED_WEIGHTS"),
        ("pytorch_model.bin.index.json", "PICKLED_WEIGHTS"),
        ("tf_model.h5", "NOT_A_CHECKPOINT"),
        ("flax_model.msgpack", "NOT_A_CHECKPOINT"),
        ("model.gguf", "NOT_A_CHECKPOINT"),
        ("consolidated.00.pth", "NOT_A_CHECKPOINT"),
        ("weights.safetensors", "NOT_A_CHECKPOINT"),
    ],
)
def test_weights_that_are_not_read_are_named_with_a_way_out(copy, name, reason):
    (copy / "model.safetensors").rename(copy / name)
    found, said = refused(copy, errors.TesseraError)
    assert found == reason
    assert "save_pretrained" in said
    assert reason == "PICKLED_WEIGHTS" or name in said


def test_pickles_that_were_left_on_the_hub_are_weights_too(copy):
    (copy / "model.safetensors").unlink()
    assert refused(Folder(copy, ("pytorch_model.bin",)))[0] == "PICKLED_WEIGHTS"


def test_the_folder_above_a_model_names_it(gpt2, tmp_path):
    for name in ("checkpoint-5", "checkpoint-10"):
        shutil.copytree(gpt2, tmp_path / name)
    reason, said = refused(tmp_path, errors.NotFoundError)
    assert reason == "NOT_A_CHECKPOINT"
    assert "`checkpoint-10`, `checkpoint-5`" in said


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "pytorch_model.bin",
        "adapter_model.safetensors",
        "model.safetensors.index.json",
    ],
)
def test_only_folders_with_weights_are_named(tmp_path, name):
    for path in (f"0_Transformer/{name}", "0_Transformer/config.json", "1_Pooling/config.json"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"{}")
    _, said = refused(tmp_path, errors.NotFoundError)
    assert "a model in `0_Transformer`: name" in said


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json",
                                  "generation_config.json"])  # fmt: skip
def test_a_pointer_of_git_lfs_is_known_wherever_it_stands(copy, name):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 9\n"
    (copy / name).write_text(pointer)
    reason, said = refused(copy)
    assert reason == "INVALID_CHECKPOINT"
    assert "git lfs pull" in said
    assert name in said


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("gpt2", ["GPT2LMHeadModel", "GPT2ForSequenceClassification"]),
        ("bert", ["BertForMaskedLM", "BertModel"]),
        ("llama", ["LlamaForCausalLM"]),
        ("bart", ["BartForConditionalGeneration"]),
        ("marian", ["MarianMTModel"]),
        ("encoder-decoder", ["EncoderDecoderModel"]),
        ("t5", ["GPT2LMHeadModel", "MarianMTModel"]),
        (None, ["GPT2LMHeadModel", "MarianMTModel"]),
    ],
)
@pytest.mark.parametrize("architectures", [None, [], ...])
def test_a_config_without_its_class_is_told_which_to_add(copy, kind, names, architectures):
    path = Path(copy) / "config.json"
    content = json.loads(path.read_text())
    del content["architectures"]
    stated = {} if architectures is ... else {"architectures": architectures}
    path.write_text(json.dumps({**content, "model_type": kind, **stated}))
    reason, said = refused(copy)
    assert reason == "UNSUPPORTED_ARCHITECTURE"
    assert all(name in said for name in names)
    assert "add it" in said


def test_a_file_that_cannot_be_read_is_named(copy):
    path = Path(copy) / "model.safetensors"
    path.rename(copy / "moved")
    path.symlink_to("nowhere")
    reason, said = refused(copy)
    assert reason == "INVALID_CHECKPOINT"
    assert "a link to `nowhere`, which is not there" in said
