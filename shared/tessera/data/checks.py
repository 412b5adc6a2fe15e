"""What must hold of the records of a task, beyond what each value is. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tessera import errors
from tessera.data.labels import names_of
from tessera.data.record import Record

_LARGEST = 1e18
"""Size of a score at most; the square of twice that is a number in float32."""
_SHOWN = 80
"""Characters of an answer that an error shows."""


def check_one_class(record: Record, role: str) -> None:
    """Raise InvalidArgumentError DATA_SEVERAL_LABELS if a record is not of exactly one class."""
    count = len(names_of(record, role))
    if count != 1:
        raise errors.InvalidArgumentError.at(
            f"data.columns.{role}",
            f"{record.place}: {count} classes where one is needed; mend the record, or set "
            "`task.multi_label`",
            "DATA_SEVERAL_LABELS",
        )


def check_scores(records: Sequence[Record]) -> bool:
    """Whether pairs have scores; all have them or none.

    Raises:
        InvalidArgumentError: DATA_SCORE.
    """
    scored = [record for record in records if "score" in record.values]
    for record in records if scored else ():
        score = record.values.get("score")
        if not isinstance(score, float) or not -1 <= score <= 1:
            shown = "no score, but others have one" if score is None else f"a score of {score}"
            raise errors.InvalidArgumentError.at(
                "data.columns.score",
                f"{record.place}: {shown}; give every pair a number from -1 to 1, which the cosine "
                "of the two vectors is to become",
                "DATA_SCORE",
            )
    return bool(scored)


def check_regression(records: Sequence[Record]) -> bool:
    """Whether all scores lie from 0 to 1.

    Raises:
        InvalidArgumentError: DATA_SCORE: one has no square in float32, or all are the same.
    """
    scores = [float(str(record.values["score"])) for record in records]
    for record, score in zip(records, scores, strict=True):
        if abs(score) > _LARGEST:
            raise errors.InvalidArgumentError.at(
                "data.columns.score",
                f"{record.place}: a score of {score}; give numbers of the size of 1, the loss is "
                "their distance squared",
                "DATA_SCORE",
            )
    if len(set(scores)) == 1:
        raise errors.InvalidArgumentError.at(
            "data.columns.score",
            f"all {len(scores)} records have the score {scores[0]}, so there is nothing to learn; "
            "give records with other scores too",
            "DATA_SCORE",
        )
    return all(0 <= score <= 1 for score in scores)


def check_answers(records: Sequence[Record]) -> None:
    """Raise InvalidArgumentError DATA_NO_ANSWER if no question has an answer."""
    if not any("answer" in record.values for record in records):
        raise errors.InvalidArgumentError.at(
            "data.columns.answer",
            "no training record has an answer; name the column that holds it, such as "
            "`answers.text.0`",
            "DATA_NO_ANSWER",
        )


def answer_begin(record: Record) -> int | None:
    """Where a record's answer begins in its context, in characters; None: it has no answer.

    Args:
        record: with an answer it must be in the context, at `answer_start` if that is said.

    Raises:
        InvalidArgumentError: DATA_ANSWER_NOT_IN_CONTEXT.
    """
    if "answer" not in record.values:
        return None
    context, answer = str(record.values["context"]), str(record.values["answer"])
    stated = record.values.get("answer_start")
    begin = stated if isinstance(stated, int) else context.find(answer)
    if begin < 0 or not context.startswith(answer, begin):
        raise no_answer_there(record)
    return begin


def no_answer_there(record: Record) -> errors.InvalidArgumentError:
    """The error of an answer that is not in its context, or not where it is said to be."""
    stated, answer = record.values.get("answer_start"), str(record.values["answer"])
    where = f" at character {stated}" if isinstance(stated, int) else ""
    return errors.InvalidArgumentError.at(
        "data.columns.answer",
        f"{record.place}: the answer `{answer[:_SHOWN]}` is not in the context{where}; mend the "
        "record, or leave the answer empty where there is none",
        "DATA_ANSWER_NOT_IN_CONTEXT",
    )
