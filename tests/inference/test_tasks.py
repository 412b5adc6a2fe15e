"""Every kind of answer over real sockets, against the model run on one text at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.models.inputs import Inputs

from .served import all_returned, ask

TEXTS = ["def", "return a + b\n    return a", "class Größe:", "a", "Maß → 尺寸 🙂" * 2, "x(a, b)"]
LABELS = ("red", "green", "blue")
CLOSE = 1e-5


def framed(model, text, pair=None):
    words = model.tokenizer
    first = [words.start_id, *words.encode(text), words.end_id]
    if pair is None:
        return first, [0] * len(first)
    second = [*words.encode(pair), words.end_id]
    return first + second, [0] * len(first) + [1] * len(second)


@torch.inference_mode()
def alone(model, tokens, segments=None, **fields):
    """The model's outputs for one text without padding."""
    kinds = None if segments is None else torch.tensor([segments])
    return model.module(Inputs(torch.tensor([tokens]), segments=kinds, **fields))


def inputs(pairs=()):
    plain = [pb.Input(text=text) for text in TEXTS]
    return plain + [pb.Input(text=first, pair=second) for first, second in pairs]


@pytest.mark.parametrize("family", ["bert", "gpt", "bert_gpt"])
@pytest.mark.parametrize("multi", [False, True])
async def test_classes_are_those_of_the_text_alone(replica, tiny, family, multi):
    model = tiny.model(family=family, task="classification", labels=LABELS, multi_label=multi)
    it = await replica(model)
    pairs = [("def", "return"), ("a" * 9, "b")]
    reply = await ask(it, "Classify", inputs=inputs(pairs))
    wanted = [framed(model, text) for text in TEXTS] + [framed(model, *pair) for pair in pairs]
    assert reply.version == 1
    for found, (tokens, segments) in zip(reply.classifications, wanted, strict=True):
        logits = alone(model, tokens, segments).logits[0]
        chances = torch.sigmoid(logits) if multi else torch.softmax(logits, -1)
        order = chances.argsort(descending=True).tolist()
        assert [each.label for each in found.labels] == [LABELS[i] for i in order]
        got = [each.probability for each in found.labels]
        assert got == pytest.approx(chances[order].tolist(), abs=CLOSE)
    best = await ask(it, "Classify", inputs=inputs(), top_k=1)
    for one, every in zip(best.classifications, reply.classifications, strict=False):
        assert [each.label for each in one.labels] == [every.labels[0].label]
    all_returned(it.engine)
    assert it.counts.requests == [("Classify", "done")] * 2


@pytest.mark.parametrize("family", ["bert", "gpt", "bert_gpt"])
async def test_pieces_of_a_text_have_classes_and_characters(replica, tiny, family):
    model = tiny.model(family=family, task="token_classification", labels=LABELS)
    it = await replica(model)
    reply = await ask(it, "Classify", inputs=inputs())
    for text, found in zip(TEXTS, reply.classifications, strict=True):
        tokens, _ = framed(model, text)
        chances = torch.softmax(alone(model, tokens).logits[0, 1:-1], -1)
        assert len(found.tokens) == len(chances)
        for piece, row in zip(found.tokens, chances, strict=True):
            assert piece.text == text[piece.begin : piece.end]
            assert piece.label.label == LABELS[row.argmax()]
            assert piece.label.probability == pytest.approx(float(row.max()), abs=CLOSE)
    ids = [7, 8, 9]
    reply = await ask(it, "Classify", inputs=[pb.Input(tokens=pb.Tokens(ids=ids))])
    found = reply.classifications[0].tokens
    assert [piece.text for piece in found] == [model.tokenizer.token_text(token) for token in ids]
    assert {(piece.begin, piece.end) for piece in found} == {(-1, -1)}
    best = alone(model, ids).logits[0].argmax(-1).tolist()
    assert [piece.label.label for piece in found] == [LABELS[i] for i in best]


@pytest.mark.parametrize(
    ("family", "task"),
    [
        ("bert", "masked_language_modeling"),
        ("bert_gpt", "joint"),
        ("bert_gpt", "masked_language_modeling"),
    ],
)
async def test_what_is_hidden(replica, tiny, family, task):
    model = tiny.model(family=family, task=task)
    it = await replica(model)
    texts = ["def [MASK](a)", "[MASK] a [MASK] b", "return a + b + [MASK]\n" * 3]
    ids = [5, model.config.mask_id, 6]
    given = [pb.Input(text=text) for text in texts] + [pb.Input(tokens=pb.Tokens(ids=ids))]
    reply = await ask(it, "FillMask", inputs=given, top_k=7)
    words = model.tokenizer
    rows = [[words.start_id, *words.encode_marked(text), words.end_id] for text in texts] + [ids]
    for found, tokens in zip(reply.texts, rows, strict=True):
        places = [at for at, token in enumerate(tokens) if token == words.mask_id]
        assert [place.position for place in found.masks] == places
        chances = torch.softmax(alone(model, tokens).masked[0], -1)
        for place in found.masks:
            top = chances[place.position].topk(7)
            assert [each.token for each in place.candidates] == top.indices.tolist()
            got = [each.probability for each in place.candidates]
            assert got == pytest.approx(top.values.tolist(), abs=CLOSE)
            assert [each.text for each in place.candidates] == [
                words.token_text(each.token) for each in place.candidates
            ]


@pytest.mark.parametrize("family", ["bert", "gpt", "bert_gpt"])
@pytest.mark.parametrize("pooling", ["first", "mean", "last"])
async def test_vectors_are_those_of_the_text_alone(replica, tiny, family, pooling):
    model = tiny.model(family=family, task="sentence_embedding", pooling=pooling)
    it = await replica(model)
    reply = await ask(it, "Embed", inputs=inputs())
    found = np.frombuffer(reply.vectors, "<f4").reshape(-1, reply.width)
    expected = [alone(model, framed(model, text)[0]).vectors[0].numpy() for text in TEXTS]
    assert reply.width == model.config.width
    assert np.abs(found - np.stack(expected)).max() < CLOSE


async def test_scores_of_texts_that_go_on_and_that_begin(replica, tiny):
    it = await replica()
    model, words = tiny.model(), tiny.tokenizer()
    pairs = [(None, "def add("), ("def", " add(a, b):\n"), ("return a", "\n"), (None, "a")]
    texts = [
        pb.ScoredText(target=pb.Input(text=target))
        if context is None
        else pb.ScoredText(context=pb.Input(text=context), target=pb.Input(text=target))
        for context, target in pairs
    ]
    reply = await ask(it, "Score", texts=texts)
    for (context, target), found in zip(pairs, reply.scores, strict=True):
        before = [model.end_id] if context is None else words.encode(context)
        assert list(found.tokens) == words.encode(target)
        expected = tiny.naive_logprobs(model, before, found.tokens)
        assert list(found.logprobs) == pytest.approx(expected, abs=CLOSE)
        assert found.total == pytest.approx(sum(expected), abs=CLOSE * 10)


@pytest.mark.parametrize(
    ("family", "task"),
    [("transformer", "translation"), ("bert_gpt", "joint"), ("bert_gpt", "summarization")],
)
async def test_what_belongs_to_a_text_and_how_likely_it_is(replica, tiny, family, task):
    model = tiny.model(family=family, task=task, share_embeddings=True)
    words, first = model.tokenizer, (model.config.first_id,)
    it = await replica(model)
    reply = await ask(it, "Translate", inputs=inputs(), max_tokens=9)
    start = [] if family == "transformer" else [words.start_id]
    scored = []
    for text, found in zip(TEXTS, reply.translations, strict=True):
        source = [*start, *words.encode(text), words.end_id]
        (best,) = found.hypotheses
        written = tiny.naive(model, first, 9, source)
        ended = written[-1] == model.end_id
        assert list(best.tokens) == (written[:-1] if ended else written)
        assert best.finish_reason == (pb.FINISH_REASON_END if ended else pb.FINISH_REASON_LENGTH)
        assert best.text == words.decode(best.tokens)
        logprobs = tiny.naive_logprobs(model, first, tuple(written), source)
        assert best.score == pytest.approx(sum(logprobs) / len(written), abs=1e-4)
        scored.append(
            pb.ScoredText(
                context=pb.Input(text=text), target=pb.Input(tokens=pb.Tokens(ids=written))
            )
        )
    scores = await ask(it, "Score", texts=scored)
    for one, found in zip(scores.scores, reply.translations, strict=True):
        assert one.total / len(one.tokens) == pytest.approx(found.hypotheses[0].score, abs=1e-4)
    several = await ask(it, "Translate", inputs=inputs(), max_tokens=9, beams=4, hypotheses=3)
    for found in several.translations:
        values = [each.score for each in found.hypotheses]
        assert len(values) == 3
        assert values == sorted(values, reverse=True)
    all_returned(it.engine)


@pytest.mark.parametrize("family", ["bert", "bert_gpt"])
@pytest.mark.parametrize("kind", ["text", "tokens"])
async def test_every_question_gets_its_best_spans(replica, tiny, family, kind):
    model = tiny.model(family=family, task="question_answering")
    words = model.tokenizer
    it = await replica(model)
    asked = [("a?", "def add(a, b): return a + b"), ("größe?", tiny.text[:150]), ("b", "b")]
    ids = [(pb.Tokens(ids=words.encode(q)), pb.Tokens(ids=words.encode(c))) for q, c in asked]
    questions = [
        pb.Question(question=pb.Input(**{kind: question}), context=pb.Input(**{kind: context}))
        for question, context in (asked if kind == "text" else ids)
    ]
    reply = await ask(it, "Answer", questions=questions, top_k=4, max_answer_tokens=5)
    for (question, context), found in zip(asked, reply.answers, strict=True):
        encoded = words.encode_offsets(context)
        nothing, expected = answers_by_hand(model, words.encode(question), encoded.ids, 5)
        assert found.no_answer_probability == pytest.approx(nothing, abs=CLOSE)
        assert len(found.spans) == min(4, len(expected))
        for span, (chance, first, last) in zip(found.spans, expected, strict=False):
            assert span.probability == pytest.approx(chance, abs=CLOSE)
            if kind == "tokens":
                assert (span.begin, span.end) == (first, last + 1)
                assert span.text == words.decode(encoded.ids[first : last + 1])
            else:
                begin, end = encoded.offsets[first][0], encoded.offsets[last][1]
                assert (span.begin, span.end, span.text) == (begin, end, context[begin:end])


async def test_a_model_without_a_tokenizer_answers_by_places(replica, tiny):
    model = tiny.model(family="bert", task="question_answering", named=False)
    it = await replica(model)
    question, context = [5, 6], [7, 8, 9, 7]
    tokens = [pb.Input(tokens=pb.Tokens(ids=ids)) for ids in (question, context)]
    asked = pb.Question(question=tokens[0], context=tokens[1])
    (found,) = (await ask(it, "Answer", questions=[asked])).answers
    named = tiny.model(family="bert", task="question_answering")
    _, ((chance, first, last), *_) = answers_by_hand(named, question, context, 30)
    assert [(span.text, span.begin, span.end) for span in found.spans] == [("", first, last + 1)]
    assert found.spans[0].probability == pytest.approx(chance, abs=CLOSE)


def answers_by_hand(model, asked, context, longest):
    """Probability of no answer, and (probability, first, last) of every span, the likeliest first.

    Of every window, the best of each span and the worst of no answer counts.
    """
    words = model.tokenizer
    room = model.config.context - len(asked) - 3
    step = room - min(longest, room // 2)
    left = [words.start_id, *asked, words.end_id]
    scores, nothing, begin = {}, [], 0
    while True:
        ids = context[begin : begin + room]
        tokens = [*left, *ids, words.end_id]
        logits = alone(model, tokens, [0] * len(left) + [1] * (len(ids) + 1)).logits[0].double()
        nothing.append(float(logits[0].sum()))
        for i in range(len(ids)):
            for j in range(i, min(i + longest, len(ids))):
                score = float(logits[len(left) + i, 0] + logits[len(left) + j, 1])
                key = (begin + i, begin + j)
                scores[key] = max(score, scores.get(key, score))
        if begin + room >= len(context):
            break
        begin += step
    of_all = torch.tensor([min(nothing), *scores.values()], dtype=torch.float64)
    chances = torch.softmax(of_all[1:], 0).tolist()
    found = [(chance, *span) for chance, span in zip(chances, scores, strict=True)]
    return float(torch.softmax(of_all, 0)[0]), sorted(found, key=lambda each: -each[0])
