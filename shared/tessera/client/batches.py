"""Many items in as many requests as they need, of a size that the API takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, TypeVar

from google.protobuf.message import Message

from tessera import errors
from tessera.client.results import Results

MAX_ITEMS = 1024
"""Items of one request, at most: what the .proto states."""

REQUEST_BYTES = 4 << 20
"""Bytes of one request, unless a single item has more."""

M = TypeVar("M", bound=Message)

_PLACE = re.compile(r"(\w+)\[(\d+)\]")


def ask(
    call: Callable[[Any], Any], make: Callable[[Sequence[M]], Message], items: Sequence[M]
) -> Iterator[Any]:
    """The answers to as many requests as the items need, in their order.

    Args:
        call: sends a request; its errors count items from 0.
        make: the request of some items.
        items: to ask about.

    Raises:
        InvalidArgumentError: INVALID_FIELD, where a message cannot hold a number.
        TesseraError: whatever `call` raises, counting all items.
    """
    begin, most = 0, MAX_ITEMS
    while begin < len(items):
        some = fitting(items, begin, most)
        with range_checked():
            request = make(some)
        try:
            with counted_from(begin):
                found = call(request)
        except errors.ResourceExhaustedError as error:
            if error.reason != "MESSAGE_TOO_LARGE" or len(some) == 1:
                raise
            most = len(some) // 2
        else:
            yield found
            begin += len(some)


def joined(answers: Iterator[Any], field: str) -> Results[Any]:
    """What each answer has in `field`, with its version."""
    values: list[Any] = []
    versions: list[int] = []
    for answer in answers:
        found = getattr(answer, field)
        values += found
        versions += [answer.version] * len(found)
    return Results(values=tuple(values), versions=tuple(versions))


def fitting(items: Sequence[M], begin: int, most: int = MAX_ITEMS) -> Sequence[M]:
    """The items from `begin` on that go into one request: at least one, and at most `most`."""
    size, end = 0, begin
    while end < min(len(items), begin + most):
        size += items[end].ByteSize()
        if size > REQUEST_BYTES and end > begin:
            break
        end += 1
    return items[begin:end]


def counted_from(begin: int) -> AbstractContextManager[None]:
    """Errors raised inside count items from `begin`; outside they count them from 0."""
    return renamed(partial(_moved, begin=begin))


@contextmanager
def renamed(change: Callable[[str], str]) -> Iterator[None]:
    """Errors raised inside name other fields.

    Args:
        change: of what begins with the name of a field.
    """
    try:
        yield
    except errors.TesseraError as error:
        raise type(error)(
            change(error.message),
            reason=error.reason,
            violations=[
                errors.Violation(change(found.field), found.description)
                for found in error.violations
            ],
            metadata=error.metadata,
            retry_after=error.retry_after,
        ) from None


def _moved(text: str, begin: int) -> str:
    """`inputs[3].text: …` as `inputs[1027].text: …`; what begins in another way stays."""
    found = _PLACE.match(text)
    if found is None:
        return text
    return f"{found[1]}[{begin + int(found[2])}]{text[found.end() :]}"


@contextmanager
def range_checked() -> Iterator[None]:
    """Numbers that a message cannot hold are the caller's mistake."""
    try:
        yield
    except ValueError as error:
        raise errors.InvalidArgumentError(str(error), reason="INVALID_FIELD") from None
