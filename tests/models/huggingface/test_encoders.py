"""BERT and its heads against transformers: weights in, weights out, the same outputs."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest
import torch
import transformers as hf
from hypothesis import given
from hypothesis import strategies as st
from roundtrip import bert_configs, check, close, few, load, randomized, saved

from tessera.client import imports
from tessera.models.inputs import Inputs

pytestmark = pytest.mark.processes


def bert_batch(config, seed, rows=3, length=8, *, left=True):
    """Tokens, padded on the right of every row, or on either side, and segments."""
    generator = np.random.default_rng(seed)
    tokens = torch.from_numpy(generator.integers(0, config.vocab_size, (rows, length)))
    segments = torch.from_numpy(generator.integers(0, config.type_vocab_size, (rows, length)))
    mask = torch.zeros(rows, length, dtype=torch.bool)
    for row in mask:
        begin = generator.integers(0, length) if left else 0
        row[begin : generator.integers(begin, length) + 1] = True
    return tokens, mask, segments


def as_bert(seed, read, **sides):
    """Compares what `read` takes of our outputs and theirs, where the mask lets one look."""

    def compare(module, model):
        tokens, mask, segments = bert_batch(model.config, seed, **sides)
        index = mask.flatten().nonzero().flatten()
        theirs = model(input_ids=tokens, attention_mask=mask.long(), token_type_ids=segments)
        for inputs in (
            Inputs(tokens=tokens, mask=mask, segments=segments),
            Inputs(tokens=tokens, mask=mask, segments=segments, index=index),
        ):
            for ours, other in read(module(inputs), theirs):
                per_token = ours.dim() == 3
                close(ours[mask] if per_token else ours, other[mask] if per_token else other)

    return compare


BERT_HEADS = {
    "BertForMaskedLM": lambda ours, theirs: [(ours.masked, theirs.logits)],
    "BertForPreTraining": lambda ours, theirs: [(ours.masked, theirs.prediction_logits)],
    "BertForTokenClassification": lambda ours, theirs: [(ours.logits, theirs.logits)],
    "BertForQuestionAnswering": lambda ours, theirs: [
        (ours.logits, torch.stack([theirs.start_logits, theirs.end_logits], dim=-1))
    ],
}
"""Class of transformers: what to compare."""


@pytest.mark.parametrize("name", BERT_HEADS)
@few(max_examples=5)
@given(data=st.data())
def test_bert(name, data):
    names = {"id2label": {0: "O", 1: "B", 2: "I"}, "label2id": {"O": 0, "B": 1, "I": 2}}
    config = data.draw(bert_configs(**(names if name == "BertForTokenClassification" else {})))
    seed = data.draw(st.integers(0, 1000))
    model = randomized(getattr(hf, name)(config), seed)
    if name == "BertForPreTraining":
        with tempfile.TemporaryDirectory() as folder:
            source = imports.read(saved(model, folder))
            module, _ = load(source)
            with torch.inference_mode():
                as_bert(seed, BERT_HEADS[name])(module, model)
        assert len(source.notes) == 5  # Two tensors each of the pooler and of the next sentence.
        return
    _, old, new = check(model, as_bert(seed, BERT_HEADS[name]))
    assert old == new


@pytest.mark.parametrize("multi_label", [False, True])
@few(max_examples=4)
@given(data=st.data())
def test_bert_classifies(multi_label, data):
    names = {number: f"class {number}" for number in range(data.draw(st.integers(2, 5)))}
    kind = "multi_label_classification" if multi_label else "single_label_classification"
    ids = {name: number for number, name in names.items()}
    config = data.draw(bert_configs(id2label=names, label2id=ids, problem_type=kind))
    seed = data.draw(st.integers(0, 1000))
    model = randomized(hf.BertForSequenceClassification(config), seed)
    # A text's first token is its [CLS], so padding is on the right.
    compare = as_bert(seed, lambda ours, theirs: [(ours.logits, theirs.logits)], left=False)
    source, old, new = check(model, compare)
    assert old == new
    assert source.config.task.labels == tuple(names.values())
    assert source.config.task.multi_label is multi_label


@few(max_examples=4)
@given(config=bert_configs(), seed=st.integers(0, 1000))
def test_bert_alone_makes_vectors(config, seed):
    def compare(module, model):
        tokens, mask, segments = bert_batch(model.config, seed)
        hidden = model(
            input_ids=tokens, attention_mask=mask.long(), token_type_ids=segments
        ).last_hidden_state
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        ours = module(Inputs(tokens=tokens, mask=mask, segments=segments)).vectors
        close(ours, mean)

    model = randomized(hf.BertModel(config), seed)
    pooler = ("pooler.dense.weight", "pooler.dense.bias")
    source, old, new = check(model, compare, blank=pooler)
    assert old == new
    assert len([note for note in source.notes if "pooler" in note]) == 2
