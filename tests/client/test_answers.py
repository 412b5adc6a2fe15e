"""Each kind of answer, of a real replica, held against the model itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.client.results import has_answer

TEXTS = ["def add(a, b):", "class Größe:"]
CLOSE = 1e-5


def framed(model, text, pair=None):
    """A text as an encoder reads it, and its segments."""
    tokenizer = model.tokenizer
    first = [tokenizer.start_id, *tokenizer.encode(text), tokenizer.end_id]
    second = [] if pair is None else [*tokenizer.encode(pair), tokenizer.end_id]
    return first + second, [0] * len(first) + [1] * len(second)


def test_translate(client, zoo):
    model = zoo["translator"]
    found = client.translate("translator", TEXTS, max_tokens=8)
    assert found.versions == (1, 1)
    for text, translation in zip(TEXTS, found, strict=True):
        source = [*model.tokenizer.encode(text), model.tokenizer.end_id]
        target = [model.config.first_id]
        (best,) = translation.hypotheses
        for token in best.tokens:
            assert token == int(model.logits(source, decoder_tokens=target)[-1].argmax())
            target.append(token)
        assert best.text == model.tokenizer.decode(best.tokens)
        assert best.finish_reason in {pb.FINISH_REASON_LENGTH, pb.FINISH_REASON_END}
    by_ids = client.translate("translator", [source], max_tokens=8)
    assert by_ids[0].hypotheses[0].tokens == found[1].hypotheses[0].tokens


def test_a_hybrid_reads_and_writes(client, zoo):
    model = zoo["hybrid"]
    assert set(client.model("hybrid").methods) == {"FillMask", "Generate", "Translate", "Score"}
    (found,) = client.translate("hybrid", TEXTS[0], max_tokens=5)
    source, target = framed(model, TEXTS[0])[0], [model.config.first_id]
    for token in found.hypotheses[0].tokens:
        assert token == int(model.logits(source, decoder_tokens=target)[-1].argmax())
        target.append(token)
    (scored,) = client.score("hybrid", [target[1:]], contexts=TEXTS[0])
    assert len(scored.logprobs) == len(target) - 1
    (filled,) = client.fill_mask("hybrid", "def [MASK]", top_k=1)
    assert len(filled.masks[0].candidates) == 1


def test_beams(client, zoo):
    (found,) = client.translate("translator", "add", beams=4, hypotheses=3, max_tokens=6)
    scores = [hypothesis.score for hypothesis in found.hypotheses]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    (greedy,) = client.translate("translator", "add", max_tokens=6, hypotheses=1)
    assert len({str(h.tokens) for h in found.hypotheses}) == 3
    parts = list(client.generate("tiny", TEXTS[0], max_tokens=6, beams=4, length_penalty=0.5))
    assert len(parts) == 1
    assert parts[0].finish_reason
    assert greedy.hypotheses[0].tokens


@pytest.mark.parametrize("pair", [None, "return a"])
def test_classify(client, zoo, pair):
    pairs = None if pair is None else [pair] * 2
    found = client.classify("stars", TEXTS, pairs=pairs)
    for text, classification in zip(TEXTS, found, strict=True):
        ids, segments = framed(zoo["stars"], text, pair)
        expected = torch.softmax(zoo["stars"].logits(ids, segments=segments), -1).tolist()
        told = {item.label: item.probability for item in classification.labels}
        wanted = dict(zip(("bad", "fair", "good"), expected, strict=True))
        assert told == pytest.approx(wanted, abs=CLOSE)
        ranked = [item.probability for item in classification.labels]
        assert ranked == sorted(ranked, reverse=True)
    (best,) = client.classify("stars", TEXTS[0], pairs=pair, top_k=1)
    assert [item.label for item in best.labels] == [found[0].labels[0].label]


def test_classify_tokens(client, zoo):
    model, (found,) = zoo["names"], client.classify("names", TEXTS[1])
    expected = torch.softmax(model.logits(framed(model, TEXTS[1])[0]), -1)[1:-1]
    assert not found.labels
    assert "".join(piece.text for piece in found.tokens) == TEXTS[1].replace(" ", "")
    for piece, row in zip(found.tokens, expected, strict=True):
        assert piece.text == TEXTS[1][piece.begin : piece.end]
        assert piece.label.label == ("other", "name")[int(row.argmax())]
        assert piece.label.probability == pytest.approx(float(row.max()), abs=CLOSE)


def test_fill_mask(client, zoo):
    model, text = zoo["words"], "def [MASK](a, b): return [MASK]"
    (found,) = client.fill_mask("words", text, top_k=3)
    tokenizer = model.tokenizer
    ids = [tokenizer.start_id, *tokenizer.encode_marked(text), tokenizer.end_id]
    places = [i for i, token in enumerate(ids) if token == tokenizer.mask_id]
    assert [mask.position for mask in found.masks] == places
    expected = torch.softmax(model.outputs(ids).masked[0], -1)
    for mask in found.masks:
        best = expected[mask.position].topk(3)
        assert [item.token for item in mask.candidates] == best.indices.tolist()
        assert [i.probability for i in mask.candidates] == pytest.approx(
            best.values.tolist(), abs=CLOSE
        )
        assert mask.candidates[0].text == tokenizer.token_text(mask.candidates[0].token)


def test_answer(client, zoo):
    context = "class Größe: def add(a, b): return a + b"
    found = client.answer("reader", [("add?", context), ("class?", context)], top_k=3)
    assert len(found) == 2
    for answers in found:
        ranked = [span.probability for span in answers.spans]
        assert len(ranked) == 3
        assert ranked == sorted(ranked, reverse=True)
        for span in answers.spans:
            assert span.text == context[span.begin : span.end]
        assert 0 < answers.no_answer_probability < 1
    encode = zoo["reader"].tokenizer.encode
    by_ids = client.answer("reader", [(encode("add?"), encode(context))], top_k=3)[0]
    assert [s.probability for s in by_ids.spans] == [s.probability for s in found[0].spans]
    assert by_ids.no_answer_probability == found[0].no_answer_probability
    ids, best = encode(context), by_ids.spans[0]
    assert best.text == zoo["reader"].tokenizer.decode(ids[best.begin : best.end])


@pytest.mark.parametrize(
    ("nothing", "best", "margin", "expected"),
    [
        (0.5, 1.0, 0.0, True),
        (0.5, 0.9, 0.0, False),
        (0.5, 0.9, 0.2, True),
        (0.4, 0.9, -1.0, False),
        (0.0, 0.1, -9.0, True),
        (1.0, 1.0, 9.0, False),
    ],
)
def test_an_answer_is_there_unless_none_is_likelier(nothing, best, margin, expected):
    spans = [pb.Span(probability=best), pb.Span(probability=1 - best)]
    found = pb.Answers(spans=spans, no_answer_probability=nothing)
    assert has_answer(found, margin=margin) == expected


def test_embed(client, zoo):
    found = client.embed("meaning", TEXTS)
    expected = [zoo["meaning"].outputs(framed(zoo["meaning"], t)[0]).vectors[0] for t in TEXTS]
    assert found.vectors.dtype == np.float32
    assert np.allclose(found.vectors, np.stack(expected), atol=CLOSE)
    assert found.versions == (1, 1)
    nothing = client.embed("meaning", [])
    assert nothing.vectors.shape == (0, client.model("meaning").width)


def test_score(client, zoo):
    model = zoo["tiny"]
    (found,) = client.score("tiny", TEXTS[0], contexts="class A:\n")
    before, ids = model.tokenizer.encode("class A:\n"), model.tokenizer.encode(TEXTS[0])
    assert found.tokens == ids
    scores = torch.log_softmax(model.logits([*before, *ids]), -1)[len(before) - 1 : -1]
    expected = [float(row[token]) for row, token in zip(scores, ids, strict=True)]
    assert list(found.logprobs) == pytest.approx(expected, abs=1e-4)
    assert found.total == pytest.approx(math.fsum(expected), abs=1e-3)
    assert client.score("tiny", TEXTS)[0] != found


@pytest.mark.parametrize(
    ("name", "task", "method"),
    [
        ("tiny", "language_modeling", "Generate"),
        ("translator", "translation", "Translate"),
        ("hybrid", "joint", "Generate"),
        ("words", "masked_language_modeling", "FillMask"),
        ("stars", "classification", "Classify"),
        ("reader", "question_answering", "Answer"),
        ("meaning", "sentence_embedding", "Embed"),
    ],
)
def test_models_tell_what_they_answer(client, zoo, name, task, method):
    found = client.model(name)
    assert found.task == task
    assert method in found.methods
    assert found.labels == list(zoo[name].config.task.labels)


def test_what_a_model_does_not_answer(client, zoo):
    with pytest.raises(errors.FailedPreconditionError, match="Generate") as caught:
        client.embed("tiny", TEXTS)
    assert caught.value.reason == "METHOD_NOT_SERVED"


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda c: c.classify("stars", ["a", ""]), "inputs[1]"),
        (lambda c: c.classify("stars", ["a", "a b " * 200]), "inputs[1]"),
        (lambda c: c.classify("stars", ["a", [10**6]]), "inputs[1]"),
        (lambda c: c.classify("stars", ["a"] * 1500 + [[-1]]), "inputs[1500]"),
        (lambda c: c.classify("stars", [[1]], pairs=["a"]), "inputs[0]"),
        (lambda c: c.classify("stars", ["a"], top_k=-1), "top_k"),
        (lambda c: c.translate("translator", ["a"], beams=2, hypotheses=3), "hypotheses"),
        (lambda c: c.translate("translator", ["a"], beams=99), "beams"),
        (lambda c: c.fill_mask("words", ["no mask here"]), "inputs[0]"),
        (lambda c: c.answer("reader", [("a", "b"), ("", "c")]), "questions[1].question"),
        (lambda c: c.answer("reader", [("a", "b"), ("a", [0.5])]), "questions[1].context"),
        (lambda c: c.score("tiny", ["a", ""]), "texts[1]"),
        (lambda c: list(c.generate("tiny", "a", beams=2, temperature=0.5)), "sampling"),
    ],
    ids=range(13),
)
def test_bad_requests(client, zoo, call, field):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        call(client)
    assert caught.value.violations[0].field.startswith(field)
