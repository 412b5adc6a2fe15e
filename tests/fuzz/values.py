"""Values of fields: those that keep the limits of the .proto files, and those that break things."""

from __future__ import annotations

import math
import re
from functools import cache
from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor as Field

from buf.validate import validate_pb2

STRING, BYTES, ENUM = Field.CPPTYPE_STRING, Field.TYPE_BYTES, Field.CPPTYPE_ENUM
WHOLE = {
    Field.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    Field.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    Field.CPPTYPE_UINT32: (0, 2**32 - 1),
    Field.CPPTYPE_UINT64: (0, 2**64 - 1),
}
REAL = {Field.CPPTYPE_DOUBLE, Field.CPPTYPE_FLOAT}
NAMES = (
    "a", "b", "tiny", "default", "a0", "x-1", "driven", "shard-0", "coordinator", "local", "spare",
    "tiny/0", "default/tiny", "default/s0", "b/s1", "jobs/a", "deployments/default/tiny", "driver",
    "rank-0", "rank-3", "rank-65535", "model", "optimizer", "state", "h:1", "127.0.0.1:1",
    "[::1]:65535", "http://127.0.0.1:1", "https://x/y?z#w", "TESSERA_SECRET_RAY", "HF_TOKEN",
    "hub/token", "module:function", "0" * 32, "0" * 64, "0123456789abcdef", "config.json",
    "a" * 63, f"{0:08x}-0000-0000-0000-{0:012x}", ",", "",
)  # fmt: skip
"""Among them is one for every pattern that a .proto file states."""
NASTY = (
    "", " ", "\0", "a\0b", "\n", "a\r\nb", "\x7f", "..", "../..", "../../etc/passwd", "/etc/passwd",
    "a/../b", "a//b", "./a", "a/", "/a", "~", "~root", "C:\\x", "a\\..\\b", "%2e%2e/", "${HOME}",
    "$(id)", "`id`", "'; DROP TABLE jobs; --", '"', "%s%n", "{0.__class__}", "{{7*7}}", "<b>",
    "\u202eabc", "\u2066a\u2069", "\u200b", "\ufeff", "\ufffd", "\uffff", "é", "ﬀ", "İ", "ß",
    "🙂" * 9, "👩\u200d👩\u200d👧", "Z͑ͫ̓a" * 20, "NaN", "Infinity", "null", "true", "0", "-1",
    "1e999", "9" * 40, "b/tiny", "b/s1", "default/../b/s1", "tiny@1", "tiny@0", "tiny@-1",
    "tiny@99999999999", "tiny@", "@1", "tiny@1@2", "deployments/b/tiny", "jobs/", "jobs/jobs/a",
    "A", "a_b", "-a", "a-",
    "rank-01", "rank-99999999", "h:99999", "h:", ":1", "http://", "http://[::1", "http://\u2603",
    "http://a:b@c:99999", "ftp://x", "blob://" + "0" * 64, "stdlib://**/*.py", "stdlib://../**",
    "file:///etc/passwd", "state=RUNNING", "state=X", "label.a=b", "a=b AND", "label.=" * 300,
    "a" * 64, "a" * 256, "a" * 5000, "[MASK]", "[MASK] " * 40, "def add(a, b):\n    return",
)  # fmt: skip
TEXTS = (
    "a", "def add(a, b):", "class Größe:", "Maß → 尺寸 🙂", "the [MASK] is", "", "x" * 300, " ",
    "state=RUNNING", "ended=false", "name=a AND state=QUEUED", "label.a=b", "queue=default", "gpt",
    "bert", "transformer", "bert_gpt", "stdlib://**/*.py", "H100", "GPU", "F32", "BF16", "I64",
)  # fmt: skip


@cache
def fitting(pattern: str) -> tuple[str, ...]:
    """Names that a pattern takes."""
    found = tuple(text for text in (*NAMES, *NASTY) if re.search(pattern, text))
    assert found, f"nothing here fits {pattern}: add a name"
    return found


@cache
def rules_of(field: Field) -> validate_pb2.FieldRules:
    """What a .proto file asks of a field."""
    return field.GetOptions().Extensions[validate_pb2.field]


@cache
def needed(field: Field) -> bool:
    """Whether a message without the field breaks a limit."""
    rules = rules_of(field)
    if rules.required:
        return True
    if field.is_repeated:
        return bool(rules.repeated.min_items)
    if field.has_presence or rules.ignore:
        return False
    if field.cpp_type == ENUM:
        return 0 in rules.enum.not_in
    if field.cpp_type == STRING:
        text = rules.string
        return bool(text.min_len or (text.pattern and not re.search(text.pattern, "")))
    low, _ = limits(field)
    return low > 0


def typed(rules: validate_pb2.FieldRules) -> Any:
    return getattr(rules, rules.WhichOneof("type") or "int64")


@cache
def limits(field: Field) -> tuple[float, float]:
    """The least and the largest number that a field takes."""
    whole = field.cpp_type in WHOLE
    low, high = WHOLE[field.cpp_type] if whole else (-1e300, 1e300)
    for rule, value in typed(rules_of(field)).ListFields():
        match rule.name:
            case "gte":
                low = value
            case "gt":
                low = value + 1 if whole else math.nextafter(value, math.inf)
            case "lte":
                high = value
            case "lt":
                high = value - 1 if whole else math.nextafter(value, -math.inf)
    return low, high


def good_number(field: Field, random: Random) -> float:
    low, high = limits(field)
    if random.random() < 0.6:
        tried = random.choice((0, 1, 2, 3, 4, 7, 0.5, 0.1, 16))
    else:
        tried = random.choice((low, high, low + 1, high - 1, 10 ** random.randrange(9)))
    number = min(max(tried, low), high)
    return int(number) if field.cpp_type in WHOLE else float(number)


def good_text(rules: validate_pb2.StringRules, random: Random) -> str:
    if getattr(rules, "in"):
        return random.choice(list(getattr(rules, "in")))
    most = rules.max_len if rules.HasField("max_len") else 5000
    if rules.pattern:
        text = random.choice(fitting(rules.pattern))
        return text if len(text) <= most else "a"
    text = random.choice(TEXTS if random.random() < 0.8 else NASTY)[:most]
    if random.random() < 0.002:
        text = (text or "é") * 2000
    return text[:most] if len(text[:most]) >= rules.min_len else "a" * max(1, rules.min_len)


@cache
def numbers(field: Field) -> tuple[int, ...]:
    """Those of an enum that a field takes."""
    refused = set(rules_of(field).enum.not_in)
    return tuple(n for n in field.enum_type.values_by_number if n not in refused)


def good_enum(field: Field, random: Random) -> int:
    return random.choice(numbers(field))


def good(field: Field, random: Random) -> Any:
    """A value of a plain field, or of an element, within its limits."""
    rules = rules_of(field)
    if field.is_repeated:
        rules = rules.repeated.items
    if field.type == BYTES:
        return random.randbytes(random.choice((0, 1, 3, 64, 300)))
    if field.cpp_type == STRING:
        return good_text(rules.string, random)
    if field.cpp_type == ENUM:
        return good_enum(field, random)
    if field.cpp_type == Field.CPPTYPE_BOOL:
        return random.random() < 0.5
    return good_number(field, random)


def wild(field: Field, random: Random) -> Any:
    """A value of a plain field, whatever its limits."""
    if field.type == BYTES:
        return random.randbytes(random.choice((0, 1, 2, 17, 3000)))
    if field.cpp_type == STRING:
        text = random.choice(NASTY)
        return text * random.choice((1, 1, 1, 2, 40))
    if field.cpp_type == ENUM:
        return random.choice((0, 1, 2, 99, -1, 2**31 - 1, -(2**31)))
    if field.cpp_type == Field.CPPTYPE_BOOL:
        return random.random() < 0.5
    if field.cpp_type in REAL:
        high = 3.4e38 if field.cpp_type == Field.CPPTYPE_FLOAT else 1.7e308
        return random.choice((0.0, -0.0, 1.5, -1.0, high, -high, 5e-324, math.inf, math.nan))
    low, high = WHOLE[field.cpp_type]
    near = random.choice((low, high, 0, 2**16, 2**31 - 1, 2**32 - 1, 10**12))
    return min(max(near + random.randrange(-2, 3), low), high)
