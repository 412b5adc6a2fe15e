"""Models of a single class: the score of a text, or of two, as a CrossEncoder gives it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers as hf
from checkpoints import TEXTS, exported, imported, loaded, reranker, scored
from hypothesis import given
from hypothesis import strategies as st
from roundtrip import few
from sentence_transformers import CrossEncoder

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb

from .served import Served, ask

pytestmark = pytest.mark.processes

PAIRS = [(TEXTS[0], TEXTS[1]), (TEXTS[2], "a dog"), ("x", TEXTS[0])]
PATHS = ["torch.nn.modules.linear.Identity", "torch.nn.modules.activation.Sigmoid",
         "torch.nn.Sigmoid", "torch.nn.Identity"]  # fmt: skip


def compare(folder, again):
    theirs = CrossEncoder(str(folder), device="cpu")
    expected = theirs.predict(PAIRS, batch_size=1)
    version = imported(folder)
    np.testing.assert_allclose(scored(loaded(version), PAIRS), expected, atol=1e-5)
    out = CrossEncoder(str(exported(version, again)), device="cpu")
    np.testing.assert_allclose(out.predict(PAIRS, batch_size=1), expected, atol=1e-5)
    assert type(out.activation_fn) is type(theirs.activation_fn)
    assert (
        json.loads((again / "config.json").read_text())["id2label"]
        == json.loads((folder / "config.json").read_text())["id2label"]
    )


STATED = st.one_of(
    st.just({}),
    st.sampled_from(PATHS).map(lambda path: {"sbert_ce_default_activation_function": path}),
    st.sampled_from(PATHS).map(lambda path: {"sentence_transformers": {"activation_fn": path}}),
)


@few(max_examples=8)
@given(stated=STATED, decoder=st.booleans(), saved=st.booleans(), seed=st.integers(0, 99))
def test_scores_are_those_of_a_cross_encoder(tmp_path_factory, stated, decoder, saved, seed):
    folder = reranker(tmp_path_factory.mktemp("model"), decoder=decoder, seed=seed, **stated)
    if saved:
        CrossEncoder(str(folder), device="cpu").save(str(folder / "whole"))
        folder /= "whole"
    compare(folder, tmp_path_factory.mktemp("out") / "out")


def test_a_regression_is_its_logit(tmp_path):
    folder = reranker(tmp_path, problem_type="regression")
    version = imported(folder)
    theirs = hf.BertForSequenceClassification.from_pretrained(folder).eval()
    words = hf.AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        expected = [theirs(**words(*pair, return_tensors="pt")).logits.item() for pair in PAIRS]
    np.testing.assert_allclose(scored(loaded(version), PAIRS), expected, atol=1e-5)
    out = exported(version, tmp_path / "out")
    assert json.loads((out / "config.json").read_text())["problem_type"] == "regression"
    again = hf.BertForSequenceClassification.from_pretrained(out)
    assert again.config.num_labels == 1


async def test_a_score_is_served(tmp_path):
    served = Served(loaded(imported(reranker(tmp_path))))
    try:
        replica = await served()
        inputs = [pb.Input(text=text, pair=pair) for text, pair in PAIRS]
        found = await ask(replica, "Classify", inputs=inputs)
    finally:
        await served.close()
    expected = CrossEncoder(str(tmp_path), device="cpu").predict(PAIRS)
    scores = [each.score for each in found.classifications]
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert all(each.HasField("score") for each in found.classifications)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sbert_ce_default_activation_function": "torch.nn.modules.activation.Tanh"}, "Tanh"),
        ({"sentence_transformers": {"activation_fn": "mine.Sigmoid"}}, "mine.Sigmoid"),
        (
            {"id2label": {"0": "a", "1": "b"}, "problem_type": "regression"},
            "a regression of 2 numbers",
        ),
    ],
)
def test_other_scores_are_refused_by_name(tmp_path, changes, said):
    with pytest.raises(errors.InvalidArgumentError, match=said) as caught:
        imported(reranker(tmp_path, **changes))
    assert caught.value.reason == "IMPORT_UNSUPPORTED"
