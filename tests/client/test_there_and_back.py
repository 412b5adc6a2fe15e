"""Models of transformers, imported and exported again: the same ids, numbers and prompts.

Over random configurations of every architecture that can be imported, with random tokenizers,
through a real parameter service.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import transformers as hf
from checkpoints import loaded
from hypothesis import given
from hypothesis import strategies as st
from random_checkpoints import VECTORS, cases, sentence_cases
from random_models import NAMES
from random_sentences import embedded
from roundtrip import IGNORED, few
from safetensors.numpy import load_file
from same_numbers import batch_of, same_numbers
from same_texts import plain_texts, same_texts, same_tokenizers
from sentence_transformers import SentenceTransformer
from versions import read

from tessera import errors
from tessera.client import checked_folder
from tessera.inference.tasks.embed import Prompt

pytestmark = pytest.mark.processes

NUMBERS = itertools.count()


def pulled(client, name):
    """A version as a replica has it."""
    manifest, found = read(client._coordinator, client._connection.token, name)
    shapes = {tensor.name: tensor.shape for tensor in manifest.tensors}
    arrays = {key: data.view(np.float32).reshape(shapes[key]) for key, data in found.items()}
    return SimpleNamespace(assets=manifest.assets, arrays=arrays)


def same_configs(case, old, new):
    for values in (old, new):
        for part in (values, values.get("encoder", {}), values.get("decoder", {})):
            for key in IGNORED:
                part.pop(key, None)
    other = {key: (old.get(key), new.get(key)) for key in old.keys() | new.keys()}
    unlike = {key for key, pair in other.items() if pair[0] != pair[1]}
    assert unlike == ({"architectures"} if case.name == "BertForPreTraining" else set())


NO_PLACE = r"(bert\.|encoder\.)?(pooler\.dense|cls\.seq_relationship)\.(weight|bias) was left out: "
INSTEAD = r"(model\.shared\.weight|cls\.predictions\.bias) was left out: the model computes with "
TWO = "the encoder has a vocabulary of "
TEMPLATED = "the tokenizer has a chat template, through which sentence-transformers "
"""What has no place here, as docs/models.md names it, or is not computed with."""


def same_files(before, after, notes):
    """The bits of every weight that was not said to be left out, and the tokenizer's files."""
    old, new = (load_file(folder / "model.safetensors") for folder in (before, after))
    lost = {note.partition(" was left out")[0] for note in notes}
    assert old.keys() - lost == new.keys() - lost
    assert all(np.array_equal(old[name], new[name]) for name in old.keys() - lost)
    names = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
    for name in names:
        found = [path.read_bytes() for path in (before / name, after / name) if path.exists()]
        assert len(found) in {0, 2}
        assert found[:1] == found[1:]


def whole(config):
    """With the longest text of a vector as a number."""
    task = config.task
    return replace(config, task=replace(task, longest=task.longest or config.context))


def check(client, folder, case):
    case.save(folder / "before")
    old = getattr(hf, case.name).from_pretrained(folder / "before").eval()
    name = f"there-and-back-{next(NUMBERS)}"
    done = client.import_model(folder / "before", name)
    after = client.export(name, folder / "after").folder
    kind = getattr(hf, client_class(case.name))
    new, info = kind.from_pretrained(after, output_loading_info=True)
    assert not any(info.values()), info
    strange = [
        note for note in done.notes if not re.match(f"{NO_PLACE}|{INSTEAD}|{TWO}|{TEMPLATED}", note)
    ]
    assert not strange
    templated = case.name in VECTORS and bool(case.tokenizer.chat_template)
    assert any(note.startswith(TEMPLATED) for note in done.notes) == templated
    same_files(folder / "before", after, done.notes)
    model = loaded(pulled(client, name))
    assert whole(checked_folder.read(after).config) == whole(model.config)
    theirs = None
    if case.tokenizer is not None:
        theirs = hf.AutoTokenizer.from_pretrained(folder / "before")
        same_tokenizers(theirs, hf.AutoTokenizer.from_pretrained(after), case.texts)
        same_texts(model, theirs, case.texts)
    same_numbers(
        case, old, new.eval(), model.module, batch_of(case, theirs, model.config, old.config)
    )
    same_configs(case, old.config.to_dict(), new.config.to_dict())
    assert (done.task == "sentence_embedding") == (case.name in VECTORS)
    if old.can_generate():
        assert old.generation_config.to_dict() == new.generation_config.to_dict()
        ends = set(model.config.end_ids)
        assert set(model.config.suppress_ids) == set(case.forbidden) - ends
        stated = old.generation_config.eos_token_id
        assert ends >= set(stated if isinstance(stated, list) else [stated])
    if old.config.is_encoder_decoder:
        assert model.config.first_id == old.config.decoder_start_token_id


def client_class(name):
    """The class of what comes out."""
    return {"BertForPreTraining": "BertForMaskedLM"}.get(name, name)


def check_sentences(client, folder, drawn):
    case, made = drawn
    case.save(folder / "theirs")
    before = made.save(folder / "theirs", case.config.hidden_size, case.seed)
    name = f"there-and-back-{next(NUMBERS)}"
    client.import_model(before, name)
    after = client.export(name, folder / "after").folder
    old, new = (SentenceTransformer(str(path), device="cpu") for path in (before, after))
    assert new.max_seq_length == old.max_seq_length
    assert new.similarity_fn_name == old.similarity_fn_name
    assert new.prompts == old.prompts
    assert new.default_prompt_name == old.default_prompt_name
    model = loaded(pulled(client, name))
    asked = {key.removeprefix("prompt_").replace("prompt", "text"): value
             for key, value in made.asked.items()}  # fmt: skip
    theirs = hf.AutoTokenizer.from_pretrained(before)
    prompts = [*old.prompts.values(), made.asked.get("prompt", "")]
    for text in case.texts:
        if not theirs(text).input_ids:
            continue  # Theirs breaks.
        expected = old.encode([text], **made.asked)
        np.testing.assert_allclose(new.encode([text], **made.asked), expected, atol=1e-5)
        if not plain_texts(theirs, ["".join([*prompts, text])]):
            continue
        try:
            found = embedded(model, [text], Prompt(**asked))
        except errors.InvalidArgumentError as error:
            # Theirs makes something of nothing, and cuts.
            if error.reason not in {"EMPTY_INPUT", "INPUT_TOO_LONG"}:
                raise
        else:
            np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@few(max_examples=2)
@given(data=st.data())
def test_nothing_is_lost(client, tiny, tmp_path_factory, name, data):
    check(client, tmp_path_factory.mktemp("case"), data.draw(cases(name)))


@pytest.mark.parametrize("name", VECTORS)
@few(max_examples=4)
@given(data=st.data())
def test_no_vector_is_another(client, tiny, tmp_path_factory, name, data):
    check_sentences(client, tmp_path_factory.mktemp("case"), data.draw(sentence_cases(name)))


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", NAMES)
@few(max_examples=100)
@given(data=st.data())
def test_nothing_is_lost_of_many(client, tiny, tmp_path_factory, name, data):
    check(client, tmp_path_factory.mktemp("case"), data.draw(cases(name)))


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", VECTORS)
@few(max_examples=200)
@given(data=st.data())
def test_no_vector_of_many_is_another(client, tiny, tmp_path_factory, name, data):
    check_sentences(client, tmp_path_factory.mktemp("case"), data.draw(sentence_cases(name)))
