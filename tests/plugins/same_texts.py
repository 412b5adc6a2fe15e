"""Whether two tokenizers do the same, and ours beside them."""

from __future__ import annotations

from tessera.models.registry import family
from tessera.models.tasks import READS

SAID = [
    {"role": "system", "content": "Sei kurz."},
    {"role": "user", "content": " the cat <|im_end|> sat "},
    {"role": "assistant", "content": "naïve 日本 🙂"},
]


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


def read_of(config, ids):
    """Without what transformers takes for padding where the last token stands for a text."""
    while ids and ids[-1] == config.unread_id:
        ids = ids[:-1]
    return ids


def same_texts(model, theirs, texts):
    """Ours reads and writes texts without special tokens in them as theirs does."""
    words, pairs = model.tokenizer, READS in family(model.config.family).offers
    plain = plain_texts(theirs, texts)
    for text in plain:
        ids = words.encode(text)
        together = theirs(text, add_special_tokens=False).input_ids
        assert ids == together
        around = theirs(text).input_ids
        assert list(model.frame.around(ids)) == read_of(model.config, around)
        asked = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        assert words.decode(ids) == theirs.decode(ids, **asked)
        if pairs and ids and (other := words.encode(plain[0])):
            expected = theirs(text, plain[0], return_token_type_ids=True)
            together, place = model.frame.around_pair(ids, other)
            assert together == read_of(model.config, expected.input_ids)
            kinds = model.frame.segments(place, len(together))
            assert kinds == expected.token_type_ids[: len(together)]
