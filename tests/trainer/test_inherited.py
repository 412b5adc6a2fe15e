"""What a model has of the version that it starts from: no torch, no files."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tessera.models.huggingface.kept import INDEX, Kept
from tessera.models.lora_config import LoRAConfig
from tessera.models.registry import FAMILIES
from tessera.models.tasks import CLASSIFICATION, EMBEDDING, REGRESSION, SENTIMENT, TOKENS
from tessera.text.special import BERT
from tessera.text.training import train
from tessera.trainer.failure import UserError
from tessera.trainer.spec import settings_of_json
from tessera.trainer.versions.sizing import complete, draft
from tessera.trainer.versions.starting_point import InitVersion, StartingPoint

pytestmark = pytest.mark.processes

SIZES = {"layers": 1, "heads": 2, "width": 16, "context": 32}
TOKENIZER = train("character", iter(["abcdefghij"]), 30, BERT)
OTHER = train("character", iter(["klmnopqrst"]), 30, BERT)


def source(config, part="from", tokenizer=TOKENIZER):
    assets = {} if tokenizer is None else {"tokenizer.json": tokenizer.to_json()}
    manifest = SimpleNamespace(version=SimpleNamespace(set="default/old", number=1), assets=assets)
    return InitVersion(part=part, manifest=manifest, config=config)


def made(family, kind, **choices):
    task = FAMILIES[family].task(kind, **choices)
    return FAMILIES[family].config(SIZES, task, vocab_size=TOKENIZER.vocab_size)


def completed(
    config, kind, *, part="from", tokenizer=TOKENIZER, new=None, labels=(), learned=(), **sections
):
    """The model of a job that starts from a version with `config` and `tokenizer`."""
    spec = {
        "name": "a",
        "model": {"family": sections.pop("family", config.family), "init": {part: "old"}},
        "task": {"kind": kind, **sections.pop("task", {})},
        "data": {"files": ["x"]},
        **sections,
    }
    settings = settings_of_json(json.dumps(spec))
    origin = StartingPoint(sources=(source(config, part, tokenizer),))
    task = replace(settings.task.config(settings.family, labels), **dict(learned))
    drafted = draft(settings, origin)
    return complete(drafted, settings, origin, task, new or tokenizer or TOKENIZER)


def test_a_task_goes_on_as_it_was():
    old = made("bert", EMBEDDING, pooling="first", normalize=False, longest=20)
    assert completed(old, EMBEDDING).task == old.task
    assert completed(old, EMBEDDING, task={"pooling": "mean"}).task == replace(
        old.task, pooling="mean"
    )


def test_classes_may_be_others():
    old = made("bert", CLASSIFICATION, labels=("a", "b"), pooling="mean", pooler=False)
    found = completed(old, SENTIMENT, labels=("bad", "good", "best")).task
    assert (found.kind, found.labels) == (SENTIMENT, ("bad", "good", "best"))
    assert (found.pooling, found.pooler) == ("mean", False)


@pytest.mark.parametrize(
    ("kind", "was", "learned", "expected"),
    [
        (REGRESSION, "sigmoid", "sigmoid", "sigmoid"),
        (REGRESSION, "identity", "sigmoid", "identity"),
        (REGRESSION, "identity", "identity", "identity"),
        (REGRESSION, "sigmoid", "identity", "identity"),
        (CLASSIFICATION, "sigmoid", "identity", "identity"),
    ],
)
def test_a_score_is_given_as_it_was_where_it_can_be(kind, was, learned, expected):
    old = made("bert", kind, labels=("old",), activation=was, pooling="mean")
    found = completed(old, REGRESSION, labels=("x",), learned={"activation": learned}).task
    assert (found.kind, found.labels, found.activation) == (REGRESSION, ("x",), expected)
    assert (found.pooling, found.pooler) == ("mean", True)


def test_another_task_begins_as_its_family_does():
    old = made("bert", EMBEDDING, pooling="last")
    found = completed(old, TOKENS, labels=("x", "y")).task
    assert found == FAMILIES["bert"].task(TOKENS, labels=("x", "y"))


@pytest.mark.parametrize(("first", "kept"), [(-1, -1), (7, 7), (TOKENIZER.start_id, -1)])
def test_a_decoder_begins_as_it_did(first, kept):
    old = replace(made("transformer", "translation"), start_id=2, decoder_start_id=first)
    assert completed(old, "translation").decoder_start_id == kept
    assert completed(old, "translation").first_id == (7 if first == 7 else TOKENIZER.start_id)


def test_a_named_tokenizer_must_be_the_versions():
    old = made("bert", EMBEDDING)
    assert OTHER.vocab_size == TOKENIZER.vocab_size
    with pytest.raises(UserError, match="another vocabulary") as caught:
        completed(old, EMBEDDING, new=OTHER)
    assert caught.value.reason == "INIT_MISMATCH"
    assert completed(old, EMBEDDING, tokenizer=None, new=OTHER).vocab_size == old.vocab_size


def test_one_of_fewer_tokens_than_embeddings_will_do():
    old = replace(made("bert", EMBEDDING), vocab_size=64)
    assert completed(old, EMBEDDING).vocab_size == 64
    small = replace(old, vocab_size=TOKENIZER.vocab_size - 1)
    with pytest.raises(UserError, match="do not fit") as caught:
        completed(small, EMBEDDING, tokenizer=None, new=TOKENIZER)
    assert caught.value.violations[0].field == "tokenizer.path"


def test_adapters_are_not_dropped_with_a_part():
    old = replace(made("bert", EMBEDDING), lora=LoRAConfig(rank=2))
    assert completed(old, EMBEDDING).lora == old.lora
    with pytest.raises(UserError, match="merged") as caught:
        completed(old, "joint", part="encoder", family="bert_gpt")
    assert caught.value.violations[0].field == "model.init.encoder"


def test_what_a_checkpoint_states_of_its_tokenizer_goes_on():
    ids = {"start_id": 2, "end_id": 5, "other_end_ids": (6, 7), "framed": True}
    old = replace(made("gpt", "language_modeling"), **ids)
    content = source(old).tokenizer
    assert (content.ids, content.framed) == ({"start": 2, "end": 5}, True)
    words = content.load()
    assert (words.end_id, words.start_id) == (5, 2)
    found = completed(old, "language_modeling", new=words)
    assert found.end_ids == (5, 6, 7)
    assert found.start_id == 2
    assert found.framed


def test_the_files_of_its_tokenizer_go_on_with_a_version():
    from tessera.trainer.run import Run  # noqa: PLC0415 - FSDP is slow to load

    assets = Kept(files={"tokenizer.json": b"own", "chat_template.jinja": b"{{ x }}"}).assets(
        b"own"
    )
    old = source(made("gpt", "language_modeling"))
    old.manifest.assets.update({**assets, "tokenizer.json": TOKENIZER.to_json()})
    run = Run.__new__(Run)
    object.__setattr__(run, "settings", SimpleNamespace(tokenizer_path=""))
    taken = run._tokenizer(TOKENIZER, StartingPoint(sources=(old,)))
    assert taken["chat_template.jinja"] == b"{{ x }}"
    assert taken["tokenizer.json"] == TOKENIZER.to_json()
    assert INDEX in taken
    assert run._tokenizer(TOKENIZER, StartingPoint()) == {"tokenizer.json": TOKENIZER.to_json()}
