"""Tensors that are tied, wrapped, computed, of several types or broken, of every architecture."""

from __future__ import annotations

import itertools

import architectures
import numpy as np
import pytest
import torch
import transformers as hf
from architectures import NAMES, edit, outputs, rewrite, saved, tensors
from hypothesis import given
from hypothesis import strategies as st
from roundtrip import close, few, load, written
from safetensors.torch import save_model

from tessera import errors
from tessera.client import checked_folder
from tessera.client.pieces import Pieces
from tessera.models import floats

pytestmark = pytest.mark.processes

GPT2, BERT, LLAMA = "GPT2LMHeadModel", "BertForMaskedLM", "LlamaForCausalLM"
BART, MARIAN, PAIR = "BartForConditionalGeneration", "MarianMTModel", "EncoderDecoderModel"
_BERT_WORDS = "bert.embeddings.word_embeddings.weight"
_SHARED = ("model.shared.weight", "model.encoder.embed_tokens.weight",
           "model.decoder.embed_tokens.weight", "lm_head.weight")  # fmt: skip
GROUPS = [
    (GPT2, {}, ("transformer.wte.weight", "lm_head.weight")),
    (LLAMA, {"tie_word_embeddings": True}, ("model.embed_tokens.weight", "lm_head.weight")),
    (BERT, {}, (_BERT_WORDS, "cls.predictions.decoder.weight")),
    (BERT, {}, ("cls.predictions.decoder.bias", "cls.predictions.bias")),
    ("BertForPreTraining", {}, (_BERT_WORDS, "cls.predictions.decoder.weight")),
    ("BertForPreTraining", {}, ("cls.predictions.decoder.bias", "cls.predictions.bias")),
    (BART, {}, _SHARED),
    (MARIAN, {}, _SHARED),
    (PAIR, {}, ("decoder.transformer.wte.weight", "decoder.lm_head.weight")),
]
"""Class, fields of its config, and names that transformers has for one tensor."""

_IDS = [f"{name}-{group[-1]}" for name, _, group in GROUPS]


def theirs(name, folder):
    """What transformers loads of a folder, and nothing that it had to make up."""
    model, info = getattr(hf, name).from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    return model.eval()


def values_of(folder, group):
    """The tensors without the group, and what the group stands for."""
    there = tensors(folder)
    stored = [there.pop(name) for name in group if name in there]
    return there, stored[0]


@pytest.mark.parametrize(("name", "fields", "group"), GROUPS, ids=_IDS)
def test_any_of_the_tied_names_will_do(tmp_path, name, fields, group):
    folder = saved(name, tmp_path, **fields)
    rest, value = values_of(folder, group)
    before = checked_folder.read(folder)
    reference = theirs(name, folder)
    for size in range(1, len(group) + 1):
        for names in itertools.combinations(group, size):
            rewrite(folder, {**rest, **dict.fromkeys(names, value)})
            source = checked_folder.read(folder)
            assert (source.config, source.notes) == (before.config, before.notes)
            close(*outputs(load(source)[0], reference))


@pytest.mark.parametrize(("name", "fields", "group"), GROUPS, ids=_IDS)
@few(max_examples=3)
@given(data=st.data())
def test_what_is_stored_with_other_numbers_is_not_tied(tmp_path_factory, name, fields, group, data):
    folder = saved(name, tmp_path_factory.mktemp(name), **fields)
    rest, value = values_of(folder, group)
    own = data.draw(st.lists(st.sampled_from(group), min_size=1, unique=True))
    # Those of one kind hold the same numbers; of two kinds, others.
    kinds = {one: data.draw(st.integers(1, 2)) for one in own}
    stored = {one: value + 0.1 * kinds.get(one, 0) for one in group}
    rewrite(folder, {**rest, **stored})
    source = checked_folder.read(folder)
    module, arrays = load(source)
    reference = theirs(name, folder)
    close(*outputs(module, reference))
    differ = len({kinds.get(one, 0) for one in group}) > 1
    assert bool([note for note in source.notes if any(one in note for one in group)]) == differ
    if name == "BertForPreTraining":
        return
    again = tmp_path_factory.mktemp("again")
    written(source.config, arrays, again)
    close(*outputs(module, theirs(name, again)))


@pytest.mark.parametrize("name", [GPT2, BERT, BART, MARIAN, PAIR])
def test_what_save_model_writes_is_read(tmp_path, name):
    model = architectures.model(name)
    folder = saved(name, tmp_path)
    save_model(model, folder / "model.safetensors")
    assert architectures.metadata(folder)
    source = checked_folder.read(folder)
    assert not [note for note in source.notes if "__metadata__" in note]
    close(*outputs(load(source)[0], model))


@pytest.mark.parametrize(
    ("name", "path"), [(GPT2, ()), (BERT, ()), (LLAMA, ()), (PAIR, ("decoder",))]
)
def test_a_head_that_is_not_tied_has_to_be_there(tmp_path, name, path):
    folder = saved(name, tmp_path, **({"tie_word_embeddings": True} if name == LLAMA else {}))
    edit(folder, "config.json", path, tie_word_embeddings=False)
    with pytest.raises(errors.InvalidArgumentError, match="lack") as caught:
        checked_folder.read(folder)
    assert caught.value.reason == "INVALID_CHECKPOINT"


@pytest.mark.parametrize("name", [BART, MARIAN])
@few(max_examples=4)
@given(seed=st.integers(0, 99))
def test_encoders_and_decoders_may_have_matrices_of_their_own(tmp_path_factory, name, seed):
    folder = saved(name, tmp_path_factory.mktemp(name), seed, tie_word_embeddings=False)
    reference = theirs(name, folder)
    source = checked_folder.read(folder)
    assert not source.config.share_embeddings
    assert not source.config.tie_embeddings
    assert not [note for note in source.notes if "not tied" in note]
    close(*outputs(load(source)[0], reference))


@pytest.mark.parametrize("name", [BART, MARIAN])
def test_a_bias_that_is_not_there_is_none(tmp_path, name):
    folder = saved(name, tmp_path)
    there = tensors(folder)
    del there["final_logits_bias"]
    rewrite(folder, there)
    source = checked_folder.read(folder)
    assert not source.config.head_bias
    module, arrays = load(source)
    reference = getattr(hf, name).from_pretrained(folder).eval()
    close(*outputs(module, reference))
    written(source.config, arrays, tmp_path / "again")
    close(*outputs(module, theirs(name, tmp_path / "again")))


WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


@pytest.mark.parametrize("name", NAMES)
@few(max_examples=3)
@given(data=st.data())
def test_wrappers_are_no_part_of_a_name(tmp_path_factory, name, data):
    folder = saved(name, tmp_path_factory.mktemp(name))
    before = checked_folder.read(folder)
    outer = data.draw(st.lists(st.sampled_from(WRAPPERS), min_size=1, max_size=2))
    inner = data.draw(st.sampled_from(["", *WRAPPERS]))

    def wrapped(key):
        first, dot, rest = key.partition(".")
        return ".".join([*outer, first, *([inner] if inner and dot else []), *([rest] * bool(dot))])

    rewrite(folder, {wrapped(key): value for key, value in tensors(folder).items()})
    source = checked_folder.read(folder)
    assert source.notes == before.notes
    for key, part in source.parts.items():
        assert np.array_equal(part.read(), before.parts[key].read())


def test_a_tensor_in_a_wrapper_and_without_is_refused(tmp_path):
    folder = saved(GPT2, tmp_path)
    there = tensors(folder)
    rewrite(folder, {**there, "module.transformer.ln_f.bias": torch.ones(8)})
    with pytest.raises(errors.InvalidArgumentError, match="twice"):
        checked_folder.read(folder)


DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "F64": torch.float64}


@pytest.mark.parametrize("name", NAMES)
@few(max_examples=3)
@given(data=st.data())
def test_several_types_are_widened_to_one_that_holds_all(tmp_path_factory, name, data):
    folder = saved(name, tmp_path_factory.mktemp(name))
    kinds = data.draw(
        st.lists(st.sampled_from(sorted(DTYPES)), min_size=2, max_size=4, unique=True)
    )
    there = tensors(folder)
    chosen = {key: data.draw(st.sampled_from(kinds)) for key in there}
    rewrite(folder, {key: value.to(DTYPES[chosen[key]]) for key, value in there.items()})
    source = checked_folder.read(folder)
    used = {part.dtype for part in source.parts.values()}
    assert source.dtype == (
        "F64" if "F64" in used else next(iter(used)) if len(used) == 1 else "F32"
    )
    assert bool([note for note in source.notes if "widened" in note]) == (len(used) > 1)
    module, arrays = load(source)
    assert {array.dtype.itemsize for array in arrays.values()} == {
        8 if source.dtype == "F64" else 4 if source.dtype == "F32" else 2
    }
    if source.dtype == "F32":
        reference = getattr(hf, name).from_pretrained(folder, dtype=torch.float32).eval()
        close(*outputs(module, reference))


@given(st.lists(st.floats(width=32), min_size=1, max_size=40))
def test_numbers_are_rounded_and_widened_as_torch_does(numbers):
    for kind, dtype in DTYPES.items():
        values = torch.tensor(numbers).to(dtype)
        bits = values.view(torch.uint16).numpy() if kind == "BF16" else values.numpy()
        for wanted, other in DTYPES.items():
            if (kind, wanted) in {("F64", "F16"), ("F64", "BF16")}:
                continue  # torch rounds once, and here it is done in two steps.
            found = torch.from_numpy(np.array(floats.converted(bits, kind, wanted)))
            found = found.view(torch.bfloat16) if wanted == "BF16" else found
            assert torch.equal(found.nan_to_num(7.0), values.to(other).nan_to_num(7.0))
        broken = int((~torch.isfinite(values)).sum())
        assert floats.count_not_finite(bits, kind) == broken


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_numbers_that_are_not_finite_are_counted(client, tiny, tmp_path, dtype):
    model = architectures.model(GPT2).to(dtype)
    with torch.no_grad():
        model.transformer.h[0].attn.c_attn.weight[2, 3:5] = float("nan")
        model.transformer.ln_f.bias[1] = float("-inf")
    model.save_pretrained(tmp_path)
    notes = client.import_model(tmp_path, f"broken-{str(dtype)[-4:]}").notes
    assert [note for note in notes if "transformer.h.0.attn.c_attn.weight has 2 numbers" in note]
    assert [note for note in notes if "transformer.ln_f.bias has 1 number" in note]
    assert len([note for note in notes if "not finite" in note]) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_no_more_is_converted_at_a_time_than_is_pushed(tmp_path, dtype):
    folder = saved(GPT2, tmp_path)
    there = tensors(folder)
    rewrite(folder, {key: value.to(dtype if "wte" in key else torch.float32)
                     for key, value in there.items()})  # fmt: skip
    source = checked_folder.read(folder)
    pieces = Pieces(source.parts, 64, source.dtype)
    widest = max(entry.shape[-1] for entry in source.entries if len(entry.shape) > 1)
    for entry in source.entries:
        found = list(pieces.of(entry))
        assert all(array.nbytes <= max(64, 4 * widest) for _, array in found)
        assert sum(array.size for _, array in found) == np.prod(entry.shape)


ARANGE = torch.arange(16)[None]
TRIL = torch.tril(torch.ones(16, 16, dtype=torch.uint8))[None, None]


def sinusoids():
    """Of Marian, as transformers makes them."""
    return architectures.model(MARIAN).model.encoder.embed_positions.weight.detach().clone()


BUFFERS = [
    (BERT, "bert.embeddings.position_ids", ARANGE),
    ("BertModel", "embeddings.position_ids", ARANGE),
    (GPT2, "transformer.h.0.attn.bias", TRIL),
    (GPT2, "transformer.h.1.attn.bias", TRIL.bool()),
    (PAIR, "decoder.transformer.h.0.crossattention.bias", TRIL.float()),
    (LLAMA, "model.layers.0.self_attn.rotary_emb.inv_freq", torch.tensor([1.0])),
]


@pytest.mark.parametrize(("name", "key", "value"), BUFFERS, ids=[key for _, key, _ in BUFFERS])
def test_what_follows_from_the_config_is_left_out_and_named_where_it_differs(
    tmp_path, name, key, value
):
    folder = saved(name, tmp_path)
    there, before = tensors(folder), checked_folder.read(folder).notes
    rewrite(folder, {**there, key: value})
    assert checked_folder.read(folder).notes == before
    for other in (value.float() + 2, torch.ones(3)):
        rewrite(folder, {**there, key: other})
        (note,) = set(checked_folder.read(folder).notes) - set(before)
        assert note.startswith(f"{key} was left out: it holds other numbers")


@pytest.mark.parametrize("key", ["model.encoder.embed_positions.weight",
                                 "model.decoder.embed_positions.weight"])  # fmt: skip
@pytest.mark.parametrize("dtype", list(DTYPES.values()))
def test_positions_of_marian_are_those_that_are_computed_or_refused(tmp_path, key, dtype):
    folder = saved(MARIAN, tmp_path)
    there, before = tensors(folder), checked_folder.read(folder).notes
    rewrite(folder, {**there, key: sinusoids().to(dtype)})
    assert checked_folder.read(folder).notes == before
    rewrite(folder, {**there, key: sinusoids().to(dtype).flip(0)})
    with pytest.raises(errors.InvalidArgumentError, match="embed_positions") as caught:
        checked_folder.read(folder)
    assert caught.value.reason == "INVALID_CHECKPOINT"


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize("name", ["GPT2Model", "GPT2ForSequenceClassification", "LlamaModel"])
def test_a_head_that_the_class_does_not_have_is_named_unless_it_is_the_embedding(
    tmp_path, name, equal
):
    folder = saved(name, tmp_path)
    there, before = tensors(folder), checked_folder.read(folder).notes
    words = next(there[key] for key in there if key.endswith(("wte.weight", "embed_tokens.weight")))
    rewrite(folder, {**there, "lm_head.weight": words if equal else words + 1})
    more = set(checked_folder.read(folder).notes) - set(before)
    assert bool(more) is not equal
    assert all(note.startswith("lm_head.weight was left out") for note in more)
