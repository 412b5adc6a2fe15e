"""An import accounts for every file, every key and every tensor of every architecture."""

from __future__ import annotations

import json
import string

import architectures
import pytest
import torch
from architectures import NAMES, edit, rewrite, saved, tensors
from hypothesis import given
from hypothesis import strategies as st
from roundtrip import few

from tessera import errors
from tessera.client import checked_folder

pytestmark = pytest.mark.processes

TENSOR_NAMES = st.text(string.ascii_lowercase + "_", min_size=3, max_size=9).map("zz{}".format)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@pytest.fixture(scope="module", params=NAMES)
def folder(request, tmp_path_factory):
    """A folder of each architecture, whole again before each change."""
    path = saved(request.param, tmp_path_factory.mktemp(request.param))
    content = {file: file.read_bytes() for file in path.iterdir()}

    def restore():
        for file in path.rglob("*"):
            if file.is_file() and file not in content:
                file.unlink()
        for file, data in content.items():
            file.write_bytes(data)
        return path

    restore.name = request.param
    return restore


def objects(folder):
    """Every object in its JSON files: file, and path of keys."""

    def within(value, path):
        yield path
        for key, inner in value.items():
            if isinstance(inner, dict) and not key.endswith(("label", "2id", "label2id")):
                yield from within(inner, (*path, key))

    for file in sorted(folder.glob("*.json")):
        for path in within(json.loads(file.read_text()), ()):
            if not {"id2label", "label2id"} & set(path):
                yield file.name, path


def test_nothing_is_said_of_a_folder_without_surprises(folder):
    """Beside what our families have no place for, which docs/models.md names."""
    known = ("pooler.dense.", "seq_relationship.", "no tokenizer")
    notes = [
        note for note in checked_folder.read(folder()).notes if not any(k in note for k in known)
    ]
    assert notes == []


@few(max_examples=6)
@given(name=st.text(min_size=1, max_size=9).map("zz {}".format), value=VALUES, data=st.data())
def test_an_unknown_key_is_named(folder, name, value, data):
    path = folder()
    file, inner = data.draw(st.sampled_from(list(objects(path))))
    edit(path, file, inner, **{name: value})
    notes = checked_folder.read(path).notes
    where = ".".join((*inner, name))
    shown = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in where)
    assert [note for note in notes if note.startswith(f"{file}: {shown} ")]


@few(max_examples=3)
@given(
    parts=st.lists(st.text(string.ascii_letters, min_size=1, max_size=5), min_size=1, max_size=3),
    ending=st.sampled_from(["", ".json", ".py", ".bin", ".safetensors", ".txt", ".xyz"]),
)
def test_an_unknown_file_is_named(folder, parts, ending):
    path, name = folder(), "/".join(("zz", *parts)) + ending
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    (path / name).write_bytes(b"?")
    notes = checked_folder.read(path).notes
    assert [note for note in notes if note.startswith(f"{name} was not read: ")]


@few(max_examples=3)
@given(parts=st.lists(TENSOR_NAMES, min_size=1, max_size=3))
def test_an_unknown_tensor_beside_the_model_is_named(folder, parts):
    path, name = folder(), ".".join(parts)
    rewrite(path, {**tensors(path), name: torch.ones(2)})
    notes = checked_folder.read(path).notes
    assert [note for note in notes if note.startswith(f"{name} was left out: ")]


@few(max_examples=4)
@given(name=TENSOR_NAMES, data=st.data())
def test_an_unknown_tensor_within_the_model_is_named_or_refused(folder, name, data):
    path = folder()
    there = tensors(path)
    beside = data.draw(st.sampled_from(sorted(there))).rpartition(".")[0]
    whole = f"{beside}.{name}"
    rewrite(path, {**there, whole: torch.ones(2)})
    try:
        said = " ".join(checked_folder.read(path).notes)
    except errors.InvalidArgumentError as error:
        said = f"{error.reason} {error}"
    assert whole in said


@few(max_examples=3)
@given(data=st.data())
def test_a_tensor_that_lacks_is_named_with_what_is_there_instead(folder, data):
    path = folder()
    there = tensors(path)
    lost = data.draw(
        st.sampled_from([name for name in sorted(there) if "layer" in name or "h." in name])
    )
    content = {name if name != lost else "zz.other": value for name, value in there.items()}
    rewrite(path, content)
    with pytest.raises(
        errors.InvalidArgumentError, match=r"lack .* they have `zz\.other`"
    ) as caught:
        checked_folder.read(path)
    assert lost in str(caught.value)


GPT2, BERT, LLAMA = "GPT2LMHeadModel", "BertForMaskedLM", "LlamaForCausalLM"
BART, MARIAN, PAIR = "BartForConditionalGeneration", "MarianMTModel", "EncoderDecoderModel"


@pytest.mark.parametrize(
    ("name", "path", "key", "neutral", "other"),
    [
        (GPT2, (), "embd_pdrop", 0.1, 0.3),
        (GPT2, (), "n_ctx", 16, 8),
        (GPT2, (), "auto_map", {}, {"AutoModel": "model.Model"}),
        (GPT2, (), "task_specific_params", None, {"text-generation": {"do_sample": True}}),
        (GPT2, (), "prefix", "", "summarize: "),
        (GPT2, (), "architectures", [GPT2], [GPT2, "GPT2DoubleHeadsModel"]),
        (BERT, (), "classifier_dropout", 0.1, 0.2),
        (BART, (), "encoder_layerdrop", 0.0, 0.1),
        (BART, (), "activation_dropout", 0.0, 0.1),
        (BART, (), "num_hidden_layers", 1, 2),
        (MARIAN, (), "decoder_layerdrop", 0, 0.5),
        (PAIR, ("decoder",), "embd_pdrop", 0.1, 0.2),
        (PAIR, ("encoder",), "classifier_dropout", None, 0.5),
        (PAIR, ("encoder",), "task_specific_params", {}, {"a": {"b": 1}}),
    ],
)
def test_a_key_is_passed_over_only_where_its_value_changes_nothing(  # noqa: PLR0917 - a case
    tmp_path, name, path, key, neutral, other
):
    folder = saved(name, tmp_path)
    before = checked_folder.read(folder).notes
    edit(folder, "config.json", path, **{key: neutral})
    assert checked_folder.read(folder).notes == before
    edit(folder, "config.json", path, **{key: other})
    (note,) = set(checked_folder.read(folder).notes) - set(before)
    assert note.startswith(f"config.json: {'.'.join((*path, key))} ")


@pytest.mark.parametrize(
    ("name", "path", "changes"),
    [
        (GPT2, (), {"scale_attn_weights": False}),
        (GPT2, (), {"is_encoder_decoder": True}),
        (BERT, (), {"is_decoder": True}),
        (LLAMA, ("rope_parameters",), {"rope_type": "yarn", "factor": 2.0}),
        (LLAMA, ("rope_parameters",), {"partial_rotary_factor": 0.5}),
        (LLAMA, (), {"rope_scaling": {"type": "dynamic", "factor": 2.0}}),
        (BART, (), {"normalize_before": True}),
        (MARIAN, (), {"static_position_embeddings": False}),
        (PAIR, ("encoder",), {"position_embedding_type": "relative_key"}),
        (PAIR, ("encoder",), {"quantization_config": {"bits": 8}}),
        (PAIR, ("decoder",), {"scale_attn_by_inverse_layer_idx": True}),
        (PAIR, ("decoder",), {"cross_attention_hidden_size": 4}),
        (PAIR, (), {"tie_encoder_decoder": True}),
    ],
    ids=str,
)
def test_a_value_that_makes_another_model_is_refused(tmp_path, name, path, changes):
    folder = saved(name, tmp_path)
    edit(folder, "config.json", path, **changes)
    with pytest.raises(errors.InvalidArgumentError) as caught:
        checked_folder.read(folder)
    assert caught.value.reason == "IMPORT_UNSUPPORTED"
    assert next(iter(changes)) in str(caught.value) or path[-1] in str(caught.value)


def test_a_header_says_nothing_that_is_not_named(tmp_path):
    folder = saved(GPT2, tmp_path)
    rewrite(folder, tensors(folder), {"format": "pt", "zz": "another layout"})
    notes = checked_folder.read(folder).notes
    assert [note for note in notes if note.startswith("model.safetensors: __metadata__: zz ")]
    assert architectures.metadata(folder)["zz"]
