"""Windows of contexts, and where in them an answer is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.trainer.tasks.examples import ANSWERS

from tessera.data.record import Record
from tessera.text.special import BERT
from tessera.text.training import train
from tessera.trainer.tasks.question_answering import AnswerEncoder, answer_span

LONG = {"question": "where?", "context": "x" * 40 + "here" + "y" * 40, "answer": "here"}


def test_an_answer_lies_in_its_windows(prepare):
    none = {"question": "why?", "context": "because"}
    _, material = prepare([*ANSWERS, LONG, none], "question_answering", stride=8)
    dataset, tokenizer = material.dataset, material.tokenizer
    batch = dataset.batch("held_out", dataset.held_out(0))
    found = []
    for row, (first, last), allowed, segments in zip(
        batch.inputs.tokens,
        batch.targets["span"].tolist(),
        batch.targets["allowed"],
        batch.inputs.segments,
        strict=True,
    ):
        assert allowed[0]
        assert allowed[first]
        assert allowed[last]
        # The context is its segment but for the end.
        assert allowed[1:].sum() == segments.sum() - 1
        found.append(tokenizer.decode(row[first : last + 1].tolist()))
    answers = [answer for answer in found if answer]
    assert sorted(set(answers)) == sorted({"here", *(record["answer"] for record in ANSWERS)})
    # 84 characters in windows of 23 that overlap by 8, of which at least one holds the answer.
    assert len(found) == len(ANSWERS) + 1 + 6
    assert 1 <= answers.count("here") <= 2
    assert batch.counts == (len(found),)


@pytest.mark.parametrize(("stride", "windows"), [(None, 6), (8, 6), (0, 4)])
def test_windows_overlap_by_a_quarter_of_the_sequences_unless_told(prepare, stride, windows):
    """The version started from has a context of 32, and the spec no length of its own."""
    told = {} if stride is None else {"stride": stride}
    choices = {"context": 32, "settings": {"sequence_length": 0}, **told}
    _, material = prepare([LONG], "question_answering", **choices)
    assert len(material.dataset.tables["train"]) == windows


KINDS = {
    kind: train(kind, iter(["the cat sat on the mat, and the dog sat too. "] * 3), 300, BERT)
    for kind in ("character", "byte_bpe", "wordpiece", "unigram")
}


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    words=st.lists(
        st.sampled_from(["the", "cat", "sat", "on", "mat", "and", "dog", "too"]), min_size=4
    ),
    data=st.data(),
)
def test_the_tokens_of_an_answer_hold_its_characters(kind, words, data):
    context = " ".join(words)
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, len(words) - 1))
    begin = len(" ".join([*words[:first], ""]))
    answer = " ".join(words[first : last + 1])
    tokenizer = KINDS[kind]
    encoded = tokenizer.encode_offsets(context)
    record = Record(values={"context": context, "answer": answer, "answer_start": begin}, place="")
    left, right = answer_span(record, encoded.offsets)
    covered = context[encoded.offsets[left][0] : encoded.offsets[right][1]]
    assert answer in covered
    # No token more than it takes.
    assert encoded.offsets[left][1] > begin
    assert encoded.offsets[right][0] < begin + len(answer)
    if kind in {"character", "wordpiece"}:
        assert covered == answer
    encode = AnswerEncoder(tokenizer=tokenizer, longest=24, overlap=4)
    asked = Record(values={**record.values, "question": "cat"}, place="")
    for sample in encode([asked]):
        (one, two), second = sample["span"], sample["second"][0]
        if two:
            shown = sample["tokens"][one : two + 1]
            assert shown.tolist() == encoded.ids[left : right + 1]
            assert one >= second
