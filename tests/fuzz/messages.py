"""Messages made from descriptors, and encodings of them that are broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.message import Message

from buf.validate import validate_pb2

from .shapes import is_map, shape_of
from .values import good, rules_of, wild

DEEPEST = 6
NESTED = 90
"""Below the depth that parsers refuse."""

Hint = Callable[[Descriptor, Field, Random], Any]
"""What a field should hold so that the message goes deep; None: anything."""


class Maker:
    """Makes messages of one caller.

    Args:
        random: all chance.
        hint: names that there are.
    """

    def __init__(self, random: Random, hint: Hint) -> None:
        self._random = random
        self._hint = hint

    def good(self, kind: Descriptor, depth: int = 0) -> Message:
        """A message within its limits, nearly always."""
        if (made := self._known(kind, depth)) is not None:
            return made
        shape, random = shape_of(kind), self._random
        message = shape.make()
        often = random.choice((0.9, 0.6) if len(shape.fields) <= 8 else (0.0, 0.0, 0.04, 0.2))
        if depth and shape.spec:
            often = min(often, random.choice((0.1, 0.6)))
        for fields, required in shape.choices:
            if required or random.random() < 0.85:
                self._put(message, random.choice(fields), depth)
        for field, always in shape.lone:
            if always or random.random() < often:
                self._put(message, field, depth)
        return message

    def near(self, kind: Descriptor) -> Message:
        """A good message with one field that is not."""
        message = self.good(kind)
        places = list(_places(message))
        held, field = self._random.choice(places) if places else (message, None)
        if field is not None:
            self._put_wild(held, field, 0)
        return message

    def wild(self, kind: Descriptor, depth: int = 0) -> Message:
        """Anything."""
        shape = shape_of(kind)
        message = shape.make()
        for field in shape.fields:
            if depth < DEEPEST and self._random.random() < 0.6:
                self._put_wild(message, field, depth)
        return message

    def _known(self, kind: Descriptor, depth: int) -> Message | None:
        random, shape = self._random, shape_of(kind)
        match shape.name:
            case "google.protobuf.Struct":
                return self._struct()
            case "google.protobuf.Timestamp":
                return timestamp_pb2.Timestamp(seconds=random.choice((0, 1, 10**9, 253402300799)))
            case "google.protobuf.Duration":
                return duration_pb2.Duration(seconds=random.choice((1, 60, 3600, 86400)))
        return shape.make() if depth > DEEPEST else None

    def _struct(self) -> struct_pb2.Struct:
        struct = struct_pb2.Struct()
        random = self._random
        for name in random.sample(("a", "b", "", "\0", "é", "reason"), random.randrange(4)):
            value = struct.fields[name]
            for _ in range(random.choice((0, 1, 2, NESTED // 2)) if random.random() < 0.3 else 0):
                value = value.list_value.values.add()
            match random.randrange(4):
                case 0:
                    value.number_value = random.choice((0.0, 1.5, 1e308, float("nan"), -1e-9))
                case 1:
                    value.string_value = random.choice(("", "x", "\0", "\U0001f600"))
                case 2:
                    value.null_value = struct_pb2.NULL_VALUE
        return struct

    def _put(self, message: Message, field: Field, depth: int) -> None:
        random = self._random
        hinted = self._hint(message.DESCRIPTOR, field, random) if random.random() < 0.9 else None
        if hinted is not None:
            put(message, field, hinted)
        elif is_map(field):
            key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
            rules = rules_of(field).map
            for _ in range(random.randrange(3)):
                name = self._of_map(key, rules.keys)
                self._put_pair(message, field, name, value, rules.values, depth=depth)
        elif field.is_repeated:
            least = rules_of(field).repeated.min_items
            count = max(least, random.choice((0, 1, 1, 2, 3)))
            put(message, field, [self._element(field, depth) for _ in range(count)])
        else:
            put(message, field, self._element(field, depth))

    def _element(self, field: Field, depth: int) -> Any:
        if field.message_type is not None:
            return self.good(field.message_type, depth + 1)
        return good(field, self._random)

    def _of_map(self, field: Field, rules: validate_pb2.FieldRules) -> Any:
        if field.cpp_type != Field.CPPTYPE_STRING:
            return good(field, self._random)
        if rules.string.pattern:
            return "A"
        text = good(field, self._random)[: rules.string.max_len or 63]
        return text if len(text) >= rules.string.min_len else "a"

    def _put_pair(
        self, message: Message, field: Field, name: Any, value: Field, rules: Any, *, depth: int
    ) -> None:
        pairs = getattr(message, field.name)
        if value.message_type is None:
            pairs[name] = self._of_map(value, rules)
        else:
            pairs[name].CopyFrom(self.good(value.message_type, depth + 1))

    def _put_wild(self, message: Message, field: Field, depth: int) -> None:
        random = self._random
        if is_map(field):
            key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
            pairs = getattr(message, field.name)
            for _ in range(random.choice((1, 2, 40))):
                if value.message_type is None:
                    pairs[wild(key, random)] = wild(value, random)
                else:
                    pairs[wild(key, random)].CopyFrom(self.wild(value.message_type, depth + 1))
            return
        count = random.choice((0, 1, 2, 3, 70)) if field.is_repeated else 1
        if field.message_type is not None:
            made = [self.wild(field.message_type, depth + 1) for _ in range(min(count, 4))]
        else:
            made = [wild(field, random) for _ in range(count)]
        put(message, field, made if field.is_repeated else made[0])


def put(message: Message, field: Field, value: Any) -> None:
    """Set a field, whatever it was."""
    name = field.name
    message.ClearField(name)
    if field.is_repeated:
        getattr(message, name).extend(value)
    elif isinstance(value, Message):
        getattr(message, name).CopyFrom(value)
    else:
        setattr(message, name, value)


def _places(message: Message) -> Iterator[tuple[Message, Field]]:
    """Every field of a message and of those in it."""
    for field in shape_of(message.DESCRIPTOR).fields:
        yield message, field
        if field.message_type is None or is_map(field):
            continue
        held = getattr(message, field.name)
        for each in held if field.is_repeated else [held] if message.HasField(field.name) else []:
            yield from _places(each)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def broken(raw: bytes, random: Random) -> bytes:
    """An encoding that something is wrong with; it may still be one of a message."""
    at = random.randrange(len(raw) + 1)
    field = random.choice((1, 2, 3, 5, 15, 16, 999, 2**29 - 1))
    match random.randrange(12):
        case 0:
            return raw[:at]
        case 1:
            flipped = bytearray(raw or b"\0")
            flipped[at % len(flipped)] ^= 1 << random.randrange(8)
            return bytes(flipped)
        case 2:
            return raw[:at] + random.randbytes(random.choice((1, 4, 40))) + raw[at:]
        case 3:  # A field that nobody knows, of any wire type.
            return raw + _varint(field << 3 | random.randrange(8)) + random.randbytes(9)
        case 4:  # Known fields, of another wire type.
            return _varint(random.randrange(1, 9) << 3 | random.choice((0, 1, 5))) + raw[at:]
        case 5:  # A length beyond the end, or beyond all bounds.
            return raw + _varint(field << 3 | 2) + _varint(random.choice((2**31 - 1, 2**63, 300)))
        case 6:  # Messages in messages, without end.
            inner = b""
            for _ in range(random.choice((40, 101, 400))):
                inner = _varint(field << 3 | 2) + _varint(len(inner)) + inner
            return raw + inner
        case 7:
            return raw + raw
        case 8:  # No UTF-8: a lone surrogate, an overlong form, a cut character.
            text = random.choice((b"\xed\xa0\x80", b"\xc0\xaf", b"\xf0\x9f", b"\xff"))
            number = random.randrange(1, 8)
            return raw + _varint(number << 3 | 2) + _varint(len(text)) + text
        case 9:  # Groups, that begin and do not end.
            return raw + _varint(field << 3 | random.choice((3, 4))) * random.choice((1, 150))
        case 10:
            return raw + _varint(random.randrange(1, 6) << 3) + b"\xff" * 11
        case _:
            return random.randbytes(random.choice((0, 1, 8, 200)))
