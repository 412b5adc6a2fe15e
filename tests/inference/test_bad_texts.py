"""Bad texts, questions and bounds are refused, and the field is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb

from .served import ask

TOKENS = pb.Input(tokens=pb.Tokens(ids=[5]))
LONG = pb.Input(text="\0" * 70)


def scored(target, context=None):
    return pb.ScoredText(target=target, context=context)


def given(**fields):
    return {"inputs": [pb.Input(text="a"), pb.Input(**fields)]}


def asked(context, question=None):
    """A good question, and one that is not."""
    good = pb.Question(question=TOKENS, context=TOKENS)
    return {"questions": [good, pb.Question(question=question or TOKENS, context=context)]}


CLASSES = {"family": "bert", "task": "classification", "labels": ("x", "y")}
TAGS = {"family": "bert", "task": "token_classification", "labels": ("x", "y")}
MASKED = {"family": "bert"}
SPANS = {"family": "bert", "task": "question_answering"}
PAIRS = {"family": "transformer"}
NAMELESS = {**CLASSES, "named": False}
BAD = [
    ("no input", CLASSES, "Classify", {}, "INVALID_FIELD", "inputs"),
    ("neither text nor tokens", CLASSES, "Classify", given(), "INVALID_FIELD", "inputs[1].value"),
    ("empty text", CLASSES, "Classify", given(text=""), "EMPTY_INPUT", "inputs[1]"),
    ("no tokens", CLASSES, "Classify", given(tokens=pb.Tokens()), "EMPTY_INPUT", "inputs[1]"),
    ("long text", CLASSES, "Classify", given(text="\0" * 70), "INPUT_TOO_LONG", "inputs[1]"),
    (
        "long tokens",
        CLASSES,
        "Classify",
        given(tokens=pb.Tokens(ids=[5] * 65)),
        "INPUT_TOO_LONG",
        "inputs[1]",
    ),
    (
        "long pair",
        CLASSES,
        "Classify",
        given(text="\0" * 31, pair="\0" * 31),
        "INPUT_TOO_LONG",
        "inputs[1]",
    ),
    (
        "token past the vocabulary",
        CLASSES,
        "Classify",
        given(tokens=pb.Tokens(ids=[1, 5000])),
        "TOKEN_OUT_OF_RANGE",
        "inputs[1].tokens.ids[1]",
    ),
    (
        "pair beside tokens",
        CLASSES,
        "Classify",
        given(tokens=pb.Tokens(ids=[1]), pair="b"),
        "PAIR_BESIDE_TOKENS",
        "inputs[1].pair",
    ),
    (
        "negative top_k",
        CLASSES,
        "Classify",
        {**given(text="a"), "top_k": -1},
        "INVALID_FIELD",
        "top_k",
    ),
    ("no tokenizer", NAMELESS, "Classify", given(text="a"), "NO_TOKENIZER", "inputs[0]"),
    (
        "pair of tags",
        TAGS,
        "Classify",
        given(text="a", pair="b"),
        "PAIR_NOT_READ",
        "inputs[1].pair",
    ),
    ("long tags", TAGS, "Classify", given(text="\0" * 70), "INPUT_TOO_LONG", "inputs[1]"),
    ("nothing hidden", MASKED, "FillMask", given(text="a"), "NO_MASK", "inputs[0]"),
    (
        "nothing hidden among tokens",
        MASKED,
        "FillMask",
        {"inputs": [TOKENS]},
        "NO_MASK",
        "inputs[0]",
    ),
    (
        "too many candidates",
        MASKED,
        "FillMask",
        {**given(text="[MASK]"), "top_k": 1001},
        "INVALID_FIELD",
        "top_k",
    ),
    (
        "question without an end",
        SPANS,
        "Answer",
        asked(TOKENS, question=pb.Input(text="\0" * 60)),
        "INPUT_TOO_LONG",
        "questions[1].question",
    ),
    (
        "question of tokens without an end",
        SPANS,
        "Answer",
        asked(TOKENS, question=pb.Input(tokens=pb.Tokens(ids=[5] * 60))),
        "INPUT_TOO_LONG",
        "questions[1].question",
    ),
    ("no context", SPANS, "Answer", asked(None), "INVALID_FIELD", "questions[1].context"),
    (
        "neither text nor tokens of a context",
        SPANS,
        "Answer",
        asked(pb.Input()),
        "INVALID_FIELD",
        "questions[1].context.value",
    ),
    (
        "empty context",
        SPANS,
        "Answer",
        asked(pb.Input(text="")),
        "EMPTY_INPUT",
        "questions[1].context",
    ),
    (
        "empty question",
        SPANS,
        "Answer",
        asked(TOKENS, question=pb.Input(text="")),
        "EMPTY_INPUT",
        "questions[1].question",
    ),
    (
        "no tokens of a context",
        SPANS,
        "Answer",
        asked(pb.Input(tokens=pb.Tokens())),
        "EMPTY_INPUT",
        "questions[1].context",
    ),
    (
        "context past the vocabulary",
        SPANS,
        "Answer",
        asked(pb.Input(tokens=pb.Tokens(ids=[1, 5000]))),
        "TOKEN_OUT_OF_RANGE",
        "questions[1].context.tokens.ids[1]",
    ),
    (
        "pair of a question",
        SPANS,
        "Answer",
        asked(TOKENS, question=pb.Input(text="a", pair="b")),
        "PAIR_NOT_READ",
        "questions[1].question.pair",
    ),
    (
        "pair beside tokens of a context",
        SPANS,
        "Answer",
        asked(pb.Input(tokens=pb.Tokens(ids=[5]), pair="b")),
        "PAIR_NOT_READ",
        "questions[1].context.pair",
    ),
    (
        "context without a tokenizer",
        {**SPANS, "named": False},
        "Answer",
        {"questions": [pb.Question(question=TOKENS, context=pb.Input(text="a"))]},
        "NO_TOKENIZER",
        "questions[0].context",
    ),
    ("empty source", PAIRS, "Translate", given(text=""), "EMPTY_INPUT", "inputs[1]"),
    ("long source", PAIRS, "Translate", {"inputs": [LONG]}, "INPUT_TOO_LONG", "inputs[0]"),
    ("pair", PAIRS, "Translate", given(text="a", pair="b"), "PAIR_NOT_READ", "inputs[1].pair"),
    (
        "more hypotheses than beams",
        PAIRS,
        "Translate",
        {**given(text="a"), "beams": 2, "hypotheses": 3},
        "TOO_MANY_HYPOTHESES",
        "hypotheses",
    ),
    ("33 beams", PAIRS, "Translate", {**given(text="a"), "beams": 33}, "INVALID_FIELD", "beams"),
    (
        "beams past the cache",
        {**PAIRS, "blocks": 8},
        "Translate",
        {**given(text="a"), "beams": 9},
        "TOO_MANY_BEAMS",
        "beams",
    ),
    (
        "no source",
        PAIRS,
        "Score",
        {"texts": [scored(TOKENS)]},
        "CONTEXT_NEEDED",
        "texts[0].context",
    ),
    ("no target", {}, "Score", {"texts": [pb.ScoredText()]}, "INVALID_FIELD", "texts[0].target"),
    (
        "empty target",
        {},
        "Score",
        {"texts": [scored(pb.Input(text=""))]},
        "EMPTY_INPUT",
        "texts[0].target",
    ),
    (
        "long target",
        PAIRS,
        "Score",
        {"texts": [scored(LONG, TOKENS)]},
        "INPUT_TOO_LONG",
        "texts[0].target",
    ),
    ("long text to score", {}, "Score", {"texts": [scored(LONG)]}, "INPUT_TOO_LONG", "texts[0]"),
    (
        "pair to score",
        {},
        "Score",
        {"texts": [scored(pb.Input(text="a", pair="b"))]},
        "PAIR_NOT_READ",
        "texts[0].target.pair",
    ),
    (
        "target past the vocabulary",
        {},
        "Score",
        {"texts": [scored(pb.Input(tokens=pb.Tokens(ids=[-1])))]},
        "TOKEN_OUT_OF_RANGE",
        "texts[0].target.tokens.ids[0]",
    ),
]


@pytest.mark.parametrize("case", [case[1:] for case in BAD], ids=[case[0] for case in BAD])
async def test_bad_input_is_refused_and_named(replica, tiny, case):
    kind, method, fields, reason, field = case
    kind = dict(kind)
    it = await replica(blocks=kind.pop("blocks", 0), model=tiny.model(**kind))
    with pytest.raises(errors.InvalidArgumentError) as refused:
        await ask(it, method, **fields)
    assert refused.value.reason == reason, refused.value.message
    assert refused.value.violations[0].field == field
    if reason == "INPUT_TOO_LONG":
        facts = refused.value.metadata
        assert facts["context"] == "64"
        assert facts["tokens"] in refused.value.message
    if reason != "INVALID_FIELD":
        assert it.counts.requests == [(method, reason.lower())]


async def test_a_decoder_that_does_not_know_where_to_begin_says_so(replica, tiny):
    model = tiny.model(family="transformer")
    lost = replace(model, config=replace(model.config, start_id=-1, decoder_start_id=-1))
    it = await replica(lost)
    for method, fields in (
        ("Translate", {"inputs": [TOKENS]}),
        ("Score", {"texts": [scored(TOKENS, TOKENS)]}),
    ):
        with pytest.raises(errors.FailedPreconditionError) as refused:
            await ask(it, method, **fields)
        assert refused.value.reason == "MODEL_WITHOUT_START"
