"""Connections that go wrong: what is no HTTP/2, frames that may not be, calls cut at any byte."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from random import Random

from .cases import Case

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = (
    0, 1, 2, 3, 4, 6, 7, 8, 9,
)  # fmt: skip
END_STREAM, END_HEADERS = 1, 4
LISTEN_SECONDS = 0.05


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2 (RFC 9113, 4.1)."""
    size = struct.pack(">I", len(payload))[1:]
    return size + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def field(name: bytes, value: bytes) -> bytes:
    """A header as a literal that is not indexed (RFC 7541, 6.2.2); both shorter than 127 bytes."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def long_field(name: bytes, value: bytes) -> bytes:
    """The same for a long value."""
    size, rest = b"\x7f", len(value) - 127
    while rest >= 128:
        size += bytes([rest % 128 + 128])
        rest //= 128
    return b"\0" + bytes([len(name)]) + name + size + bytes([rest]) + value


def head(case: Case, odd: Random | None = None) -> bytes:
    """Headers of a case's call; where `odd` is given, one of them is no text."""
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", case.method.encode()),
        (b":authority", b"x"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        (b"grpc-timeout", b"100m"),
    ]
    if odd is not None:
        at = odd.randrange(len(fields))
        fields[at] = (fields[at][0], odd.randbytes(odd.choice((0, 1, 3, 60))))
    encoded = b"".join(field(name, value) for name, value in fields)
    for key, value in case.metadata:
        text = value if isinstance(value, bytes) else value.encode()
        encoded += long_field(key.encode(), text.ljust(127))
    return encoded


def wrapped(raw: bytes, *, flag: int = 0) -> bytes:
    """A message with gRPC's prefix."""
    return bytes([flag]) + struct.pack(">I", len(raw)) + raw


def call(case: Case) -> bytes:
    """A whole call, good or not: what the case sends."""
    body = b"".join(wrapped(raw) for raw in case.messages)[:16384]
    return frame(HEADERS, END_HEADERS, 1, head(case)[:16384]) + frame(DATA, END_STREAM, 1, body)


def spoiled(case: Case, random: Random) -> bytes:
    """What is sent on one connection."""
    begun = PREFACE + frame(SETTINGS, 0, 0, b"")
    whole = call(case)
    match random.randrange(13):
        case 0:
            return random.randbytes(random.choice((1, 24, 3000)))
        case 1:
            return b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
        case 2:
            return PREFACE[: random.randrange(len(PREFACE))]
        case 3:  # Cut at any byte.
            return begun + whole[: random.randrange(len(whole))]
        case 4:
            return begun + frame(random.randrange(256), random.randrange(256), 1, b"x" * 40)
        case 5:  # A length that lies.
            return begun + b"\xff\xff\xff" + bytes([DATA, 0]) + b"\0\0\0\1" + b"x" * 100
        case 6:  # Headers that go on and on.
            more = frame(CONTINUATION, 0, 1, long_field(b"x", b"y" * 8000)) * 20
            return begun + frame(HEADERS, 0, 1, head(case)[:16000]) + more
        case 7:  # Begun and reset, many times.
            part = b"".join(
                frame(HEADERS, END_HEADERS, 2 * n + 1, head(case)[:16000])
                + frame(RESET, 0, 2 * n + 1, b"\0\0\0\x08")
                for n in range(random.choice((1, 50)))
            )
            return begun + part
        case 8:
            at = random.randrange(len(whole))
            return begun + whole[:at] + random.randbytes(5) + whole[at:]
        case 9:  # A prefix that lies, or says that the message is compressed.
            raw = case.messages[0] if case.messages else b""
            body = random.choice(
                (wrapped(raw, flag=1), wrapped(raw, flag=255), b"\0\xff\xff\xff\xff")
            )
            return (
                begun
                + frame(HEADERS, END_HEADERS, 1, head(case)[:16000])
                + frame(DATA, random.choice((0, END_STREAM)), 1, body[:16384])
            )
        case 10:
            return begun + whole + frame(GOAWAY, 0, 0, b"\0" * 8) + frame(WINDOW, 0, 0, b"\x7f" * 4)
        case 11:
            return begun + frame(HEADERS, END_HEADERS, 1, head(case, random)[:16000])
        case _:
            return begun + frame(PING, 0, 0, b"12345678") * 200 + frame(SETTINGS, 0, 0, b"\xff" * 6)


async def break_connection(address: str, case: Case, random: Random) -> None:
    """Connect, send what is spoiled, listen a moment, and go away."""
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError, TimeoutError):
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(spoiled(case, random))
            await writer.drain()
            async with asyncio.timeout(LISTEN_SECONDS):
                await reader.read(1 << 16)
        finally:
            writer.close()
