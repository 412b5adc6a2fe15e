"""Models of transformers, imported and exported again: the same ids, numbers and prompts.

Over random configurations of every architecture that can be imported, with random tokenizers,
through a real parameter service.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from checkpoints import loaded
from hypothesis import given
from hypothesis import strategies as st
from random_models import CONTEXT, NAMES, configs
from random_sentences import embedded, sentence_modules
from random_tokenizers import TEXT, tokenizers
from roundtrip import IGNORED, close, few, randomized
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from versions import read

from tessera import errors
from tessera.client import imports
from tessera.inference.tasks.embed import Prompt
from tessera.models.huggingface.catalog import ARCHITECTURES
from tessera.models.inputs import Inputs
from tessera.models.registry import family
from tessera.models.tasks import READS

pytestmark = pytest.mark.processes

SAID = [
    {"role": "system", "content": "Sei kurz."},
    {"role": "user", "content": " the cat <|im_end|> sat "},
    {"role": "assistant", "content": "naïve 日本 🙂"},
]
NUMBERS = itertools.count()
VECTORS = ("BertModel", "GPT2Model", "LlamaModel")
"""Classes that sentence-transformers makes vectors with."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model, its tokenizer and texts; without a tokenizer it has two vocabularies."""

    name: str
    config: Any
    tokenizer: Any
    forbidden: tuple[int, ...]
    texts: list[str]
    jinja: bool
    seed: int

    def save(self, folder):
        """A folder as transformers writes it."""
        model = randomized(getattr(hf, self.name)(self.config), self.seed)
        if hasattr(model, "final_logits_bias"):
            model.final_logits_bias.normal_(generator=torch.Generator().manual_seed(self.seed))
        if self.forbidden and model.can_generate():
            model.generation_config.bad_words_ids = [[token] for token in self.forbidden]
        model.save_pretrained(folder)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder, save_jinja_files=self.jinja)
        return model


@st.composite
def cases(draw, name, *, sentences=False):
    architecture = ARCHITECTURES[name]
    reads, writes = architecture.family != "gpt", architecture.family != "bert"
    theirs = draw(tokenizers(reads=reads, writes=writes, sentences=sentences))
    least = max(theirs.get_vocab().values()) + 1
    words = least + draw(st.integers(0, 5))
    target = 0
    if name == "EncoderDecoderModel" and draw(st.booleans()):
        target, theirs = words + draw(st.integers(1, 5)), None
    config = draw(configs(name, words, draw(ids(name, theirs, words)), target))
    return Case(
        name=name,
        config=config,
        tokenizer=theirs,
        forbidden=tuple(draw(st.sets(st.integers(0, least - 1), max_size=2))),
        texts=draw(st.lists(TEXT, min_size=3, max_size=3)),
        jinja=draw(st.booleans()),
        seed=draw(st.integers(0, 10_000)),
    )


@st.composite
def ids(draw, name, theirs, words):
    """The special tokens that a config names."""
    number = st.integers(0, words - 1)

    def known(role, *, always=False):
        """As the tokenizer has it; where it has none, any or none."""
        own = None if theirs is None else getattr(theirs, f"{role}_token_id")
        if own is not None:
            return own
        return draw(number if always else st.none() | number)

    found = {"pad_token_id": known("pad")}
    if name.startswith("Bert"):
        return found
    ends = known("eos", always=True)
    found |= {"bos_token_id": known("bos"), "eos_token_id": ends}
    if not name.startswith(("GPT2", "Llama")):
        found["decoder_start_token_id"] = draw(st.sampled_from([ends, *range(3)]))
        found["forced_eos_token_id"] = draw(st.sampled_from([None, ends]))
    if draw(st.booleans()) and "For" in name:
        found["eos_token_id"] = [ends, draw(number.filter(lambda token: token != ends))]
    return found


def pulled(client, name):
    """A version as a replica has it."""
    manifest, found = read(client._coordinator, client._connection.token, name)
    shapes = {tensor.name: tensor.shape for tensor in manifest.tensors}
    arrays = {key: data.view(np.float32).reshape(shapes[key]) for key, data in found.items()}
    return SimpleNamespace(assets=manifest.assets, arrays=arrays)


def same_tokenizers(old, new, texts):
    assert type(old) is type(new)
    assert old.get_vocab() == new.get_vocab()
    marked = " ".join([texts[0], *old.all_special_tokens, texts[1]])
    for text in [*texts, marked]:
        assert dict(old(text)) == dict(new(text))
        assert dict(old(text, texts[0])) == dict(new(text, texts[0]))
        ids = old(text).input_ids
        for skip in (False, True):
            asked = {"skip_special_tokens": skip}
            assert old.decode(ids, **asked) == new.decode(ids, **asked)
    cut = {"truncation": True, "padding": old.pad_token_id is not None}
    assert dict(old(texts, **cut)) == dict(new(texts, **cut))
    assert old.special_tokens_map == new.special_tokens_map
    assert old.all_special_ids == new.all_special_ids
    assert old.model_max_length == new.model_max_length
    assert old.padding_side == new.padding_side
    assert old.truncation_side == new.truncation_side
    assert old.chat_template == new.chat_template
    several = isinstance(old.chat_template, dict)
    for template in old.chat_template if several else [None] * bool(old.chat_template):
        for go_on in (False, True):
            asked = {"chat_template": template, "add_generation_prompt": go_on, "tokenize": False}
            assert old.apply_chat_template(SAID, **asked) == new.apply_chat_template(SAID, **asked)


def plain_texts(theirs, texts):
    """Those in which no special token is written, whatever a normalizer makes of case."""
    names = {str(token).lower() for token in theirs.added_tokens_decoder.values() if token.special}
    return [text for text in texts if not any(name in text.lower() for name in names)]


def same_texts(model, theirs, texts):
    """Ours reads and writes texts without special tokens in them as theirs does."""
    words, pairs = model.tokenizer, READS in family(model.config.family).offers
    plain = plain_texts(theirs, texts)
    for text in plain:
        ids = words.encode(text)
        together = theirs(text, add_special_tokens=False).input_ids
        assert ids == together
        assert list(model.frame.around(ids)) == theirs(text).input_ids
        asked = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        assert words.decode(ids) == theirs.decode(ids, **asked)
        if pairs and ids and (other := words.encode(plain[0])):
            expected = theirs(text, plain[0], return_token_type_ids=True)
            together, place = model.frame.around_pair(ids, other)
            assert together == expected.input_ids
            assert model.frame.segments(place, len(together)) == expected.token_type_ids


@dataclass
class Batch:
    """Rows of tokens, filled up on their right, and of encoders some on their left too."""

    tokens: torch.Tensor
    mask: torch.Tensor
    segments: torch.Tensor
    written: torch.Tensor


def batch_of(case, theirs, config):
    generator = np.random.default_rng(case.seed)
    pad = getattr(config, "pad_token_id", None)
    kinds, words, target = 1, config, config
    if case.name == "EncoderDecoderModel":
        words, target = config.encoder, config.decoder
    if case.name.startswith("Bert") and "token_type_ids" in theirs.model_input_names:
        kinds = config.type_vocab_size
    known = np.setdiff1d(np.arange(words.vocab_size), [-1 if pad is None else pad])
    rows = [generator.choice(known, length).tolist() for length in (7, 4)]
    if theirs is not None:
        rows += [theirs(text).input_ids[:CONTEXT] for text in case.texts]
    if "SequenceClassification" in case.name and not case.name.startswith("Bert"):
        # They take for padding whatever looks so, also where it is of the text.
        rows = [row for row in rows if row[-1:] != [pad]]
    rows = [row for row in rows if row]
    width = max(map(len, rows))
    shape = (len(rows), width)
    mask = torch.tensor([[True] * len(row) + [False] * (width - len(row)) for row in rows])
    filler = 0 if pad is None else pad
    if ARCHITECTURES[case.name].family != "gpt" and case.name != "BertForSequenceClassification":
        mask[::2, 0] = mask[::2].sum(1) == 1
    return Batch(
        tokens=torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows]),
        mask=mask,
        segments=torch.from_numpy(generator.integers(0, kinds, shape)),
        written=torch.from_numpy(generator.integers(0, target.vocab_size, (len(rows), 6))),
    )


def theirs_say(case, model, batch):
    """Every tensor of numbers, where a mask lets one look."""
    asked = {"input_ids": batch.tokens, "attention_mask": batch.mask.long()}
    if case.name.startswith("Bert"):
        asked["token_type_ids"] = batch.segments
    if model.config.is_encoder_decoder:
        asked["decoder_input_ids"] = batch.written
    found = model(**asked, return_dict=True)
    names = ("logits", "start_logits", "end_logits", "prediction_logits", "last_hidden_state")
    return {name: found[name] for name in names if name in found}


def ours_say(case, module, batch, index):
    """What ours says of the same, by the same names, computed for all places or for some."""
    segments = batch.segments if case.name.startswith("Bert") else None
    found = module(
        Inputs(
            tokens=batch.tokens,
            mask=batch.mask,
            segments=segments,
            decoder_tokens=batch.written,
            index=index,
        )
    )
    if found.vectors is not None:
        return {"vectors": found.vectors}
    if case.name == "BertForQuestionAnswering":
        return dict(zip(("start_logits", "end_logits"), found.logits.unbind(-1), strict=True))
    masked = "prediction_logits" if case.name == "BertForPreTraining" else "logits"
    return {masked: found.masked} if found.logits is None else {"logits": found.logits}


def shown(values, batch):
    """Without what stands over padding."""
    per_token = values.dim() > 1 and values.shape[:2] == batch.mask.shape
    return values[batch.mask] if per_token else values


@torch.inference_mode()
def same_numbers(case, old, new, module, batch):
    rows = [
        Batch(
            tokens=batch.tokens[n : n + 1, first : last + 1],
            mask=batch.mask[n : n + 1, first : last + 1],
            segments=batch.segments[n : n + 1, first : last + 1],
            written=batch.written[n : n + 1],
        )
        for n, row in enumerate(batch.mask)
        for first, last in [row.nonzero()[[0, -1], 0].tolist()]
    ]
    alone = "SequenceClassification" in case.name and new.config.pad_token_id is None
    for part in [*rows, *([] if alone else [batch])]:
        before, after = theirs_say(case, old, part), theirs_say(case, new, part)
        if case.name == "BertForPreTraining":
            after["prediction_logits"] = after.pop("logits")
        assert before.keys() == after.keys()
        for name in before.keys() & after.keys():
            close(shown(after[name], part), shown(before[name], part))
        if case.name in VECTORS:
            states, mask = before["last_hidden_state"], part.mask[..., None]
            before["vectors"] = (states * mask).sum(1) / mask.sum(1)
        for index in (None, part.mask.flatten().nonzero().flatten()):
            for name, values in ours_say(case, module, part, index).items():
                close(shown(values, part), shown(before[name], part))


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
    """The bits of every weight but of those that are said to be left out, and a tokenizer's files."""
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
    assert whole(imports.read(after).config) == whole(model.config)
    theirs = None
    if case.tokenizer is not None:
        theirs = hf.AutoTokenizer.from_pretrained(folder / "before")
        same_tokenizers(theirs, hf.AutoTokenizer.from_pretrained(after), case.texts)
        same_texts(model, theirs, case.texts)
    same_numbers(case, old, new.eval(), model.module, batch_of(case, theirs, old.config))
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


@st.composite
def sentence_cases(draw, name):
    return draw(cases(name, sentences=True)), draw(sentence_modules())


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
            assert error.reason in {"EMPTY_INPUT", "INPUT_TOO_LONG"}
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
