from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.text.special import END_OF_TEXT
from tessera.text.tokenizer import Tokenizer, train_byte_bpe

TEXTS = [
    "def main():\n    return 'naïve'\n" * 20,
    "import os\nimport sys\n" * 20,
    "日本語 text 🙂" * 9,
]
TOKENIZER = train_byte_bpe(iter(TEXTS), 320)


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_every_text_comes_back(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_a_stream_says_the_same_and_never_half_a_character(text):
    decoder = TOKENIZER.decoder()
    pieces = [decoder.push(token) for token in TOKENIZER.encode(text)]
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)
    assert "".join(pieces) + decoder.finish() == text


def test_half_a_character_at_the_end_is_marked():
    decoder = TOKENIZER.decoder()
    first = next(i for i in range(TOKENIZER.vocab_size) if TOKENIZER.token_bytes(i) == b"\xe6")
    assert decoder.push(first) == ""
    assert decoder.finish() == "\ufffd"


def test_the_end_of_a_text_is_never_encoded_from_text():
    ids = TOKENIZER.encode(f"a{END_OF_TEXT}b")
    assert TOKENIZER.end_id not in ids
    assert TOKENIZER.decode([*ids, TOKENIZER.end_id]) == f"a{END_OF_TEXT}b"


def test_json_keeps_everything():
    again = Tokenizer.from_json(TOKENIZER.to_json())
    assert again.to_json() == TOKENIZER.to_json()
    assert (again.vocab_size, again.end_id) == (TOKENIZER.vocab_size, TOKENIZER.end_id)
    assert again.encode(TEXTS[0]) == TOKENIZER.encode(TEXTS[0])
    assert again.encode_batch(TEXTS) == [again.encode(text) for text in TEXTS]


def test_training_is_the_same_every_time_and_learns_merges():
    assert train_byte_bpe(iter(TEXTS), 320).to_json() == TOKENIZER.to_json()
    assert len(TOKENIZER.encode("import os")) < len("import os")
    assert TOKENIZER.vocab_size <= 320


@pytest.mark.parametrize("content", [b"{}", b"no json", b"\xff\xfe"])
def test_what_is_no_tokenizer_is_refused(content):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        Tokenizer.from_json(content)
    assert caught.value.reason == "INVALID_TOKENIZER"
