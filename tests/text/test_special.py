from __future__ import annotations

import pytest

from tessera.text.special import BERT, GPT, SEQ2SEQ, SpecialTokens, find_special


@pytest.mark.parametrize("special", [GPT, BERT, SEQ2SEQ])
def test_a_familys_own_are_found(special):
    assert find_special({*special.names, "word", "a"}) == special
    assert find_special({name: index for index, name in enumerate(special.names)}) == special


@pytest.mark.parametrize(
    ("vocabulary", "special"),
    [
        ("<unk> <s> </s>", SpecialTokens(start="<s>", end="</s>", unknown="<unk>")),
        ("<pad> </s> <unk>", SpecialTokens(end="</s>", pad="<pad>", unknown="<unk>")),
        (
            "<|begin_of_text|> <|end_of_text|> <|finetune_right_pad_id|>",
            SpecialTokens(
                start="<|begin_of_text|>", end="<|end_of_text|>", pad="<|finetune_right_pad_id|>"
            ),
        ),
        ("<bos> <eos> <pad>", SpecialTokens(start="<bos>", end="<eos>", pad="<pad>")),
        # A GPT that keeps the names of the tokenizer that it came from.
        ("<s> </s> <unk> <|endoftext|>", SpecialTokens(end="<|endoftext|>", unknown="<unk>")),
        # A BERT with the vocabulary of a GPT.
        ("<|endoftext|> <|padding|> [CLS] [SEP] [PAD] [MASK] [UNK]", BERT),
        (
            "<pad> <unk> [CLS] [SEP] [MASK]",
            SpecialTokens(start="[CLS]", end="[SEP]", pad="<pad>", mask="[MASK]", unknown="<unk>"),
        ),
        ("a b", SpecialTokens(end="")),
    ],
)
def test_what_others_publish_is_known(vocabulary, special):
    assert find_special(set(vocabulary.split())) == special
