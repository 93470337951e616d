"""Streams of messages, and what somebody who means harm makes of them."""

from __future__ import annotations

import re
from collections.abc import Callable

from hypothesis import strategies as st

from tests.native import messages
from tests.native.messages import Request, Response

# What parsers have been at odds about (RFC 9112 section 11.2), each to be put in as a line of a head.
_LINES = (
    b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: 6", b"content-length:\t5 ",
    b"Content-Length: 05", b"Content-Length: +5", b"Content-Length: -5", b"Content-Length: 5, 5",
    b"Content-Length: 0x5", b"Content-Length: 5;", b"Content-Length: 1_0", b"Content-Length:",
    b"Content-Length : 5", b"Content-Length\t: 5", b" Content-Length: 5", b"Content-Length\x00: 5",
    b"Content-Length: \x0b5", b"Content-Length: 5\x0c", b"Content-Length: 5\r", b"Content_Length: 5",
    b"Content-Length: 18446744073709551621", b"Content-Length: 00000000000000000000005",
    b"Content-Length: 5\x00", b"Content-Length:\r\n 5", b"X: a\r\n b", b"X: a\rContent-Length: 5",
    b"X: a\nContent-Length: 5", b"X:\x00", b"X: \xff", b"X", b": x", b"X Y: z", b"\x00: x", b"X: \x7f",
    b"Transfer-Encoding: chunked", b"transfer-encoding:chunked\t", b"Transfer-Encoding: Chunked",
    b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, gzip",
    b"Transfer-Encoding: identity", b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunkedx",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: chunked,", b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding: chunked;a=b", b'Transfer-Encoding: "chunked"', b"Transfer-Encoding:",
    b"Transfer-Encoding : chunked", b"Transfer-Encoding\t: chunked", b" Transfer-Encoding: chunked",
    b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding:\r\n chunked", b"Transfer_Encoding: chunked",
    b"Transfer-Encoding: x\r\n chunked", b"Transfer-Encoding: chunked\r", b"Transfer-Encoding\x00: chunked",
    b"Connection: close", b"Connection: keep-alive", b"Connection: upgrade\r\nUpgrade: h2c",
    b"Host: other", b"Expect: 100-continue",
)  # fmt: skip
_BYTES = (
    b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b";", b",", b"/", b"0", b"5", b"\x0b", b"\x7f", b"\x85",
    b"\xff", b"HTTP/1.1", b"\r\n\r\n", b"\n\n", b"0\r\n\r\n", b"\r\n5\r\n", b'"', b"?", b"#", b"*",
)  # fmt: skip
_SIZES = (
    b"00000000000000000005", b"5 ", b" 5", b"0x5", b"+5", b"-5", b"5;a", b"5;a\nb", b'5;a="\r\n"', b"5\t;a",
    b"fffffffffffffffff", b"5\r", b"g", b"", b"5;\x00", b"5g",
)  # fmt: skip
_FIELD = re.compile(rb"(?im)^(content-length|transfer-encoding|host|connection)")
_LINE = re.compile(rb"(?<=\n)(?=[^\r\n])")
_SIZE = re.compile(rb"(?m)^[0-9a-fA-F]+(?=[ \t;\r\n])")
_TCHAR = b"!#$%&'*+-.^_`|~09azAZ"


def _at(draw: st.DrawFn, stream: bytes) -> int:
    return draw(st.integers(0, len(stream)))


def _place(draw: st.DrawFn, stream: bytes, pattern: re.Pattern[bytes]) -> tuple[int, int]:
    """Draw where a pattern is found, or any place if it is not."""
    found = [m.span() for m in pattern.finditer(stream)]
    if not found:
        at = _at(draw, stream)
        return at, at
    return draw(st.sampled_from(found))


def _flip(draw: st.DrawFn, stream: bytes) -> bytes:
    at = _at(draw, stream[1:])
    bit = 1 << draw(st.integers(0, 7))
    return stream[:at] + bytes(b ^ bit for b in stream[at : at + 1]) + stream[at + 1 :]


def _delete(draw: st.DrawFn, stream: bytes) -> bytes:
    at = _at(draw, stream)
    return stream[:at] + stream[at + draw(st.sampled_from([1, 1, 1, 2, 8, 60])) :]


def _double(draw: st.DrawFn, stream: bytes) -> bytes:
    at, n = _at(draw, stream), draw(st.sampled_from([1, 2, 8, 60]))
    return stream[: at + n] + stream[at:]


def _insert(draw: st.DrawFn, stream: bytes) -> bytes:
    at = _at(draw, stream)
    return stream[:at] + draw(st.sampled_from(_BYTES)) + stream[at:]


def _line(draw: st.DrawFn, stream: bytes) -> bytes:
    at, _ = _place(draw, stream, _LINE)
    return stream[:at] + draw(st.sampled_from(_LINES)) + b"\r\n" + stream[at:]


def _repeat(draw: st.DrawFn, stream: bytes) -> bytes:
    at, _ = _place(draw, stream, _LINE)
    end = stream.find(b"\n", at) + 1
    return stream[:end] + stream[at:]


def _rename(draw: st.DrawFn, stream: bytes) -> bytes:
    """One letter of a field's name becomes another that a name may have."""
    start, end = _place(draw, stream, _FIELD)
    at = draw(st.integers(start, max(start, end - 1)))
    return stream[:at] + bytes([draw(st.sampled_from(_TCHAR))]) + stream[at + 1 :]


def _case(draw: st.DrawFn, stream: bytes) -> bytes:
    start, end = _place(draw, stream, _FIELD)
    return stream[:start] + stream[start:end].swapcase() + stream[end:]


def _size(draw: st.DrawFn, stream: bytes) -> bytes:
    start, end = _place(draw, stream, _SIZE)
    return stream[:start] + draw(st.sampled_from(_SIZES)) + stream[end:]


def _end(draw: st.DrawFn, stream: bytes) -> bytes:
    """One line ends in another way."""
    start, end = _place(draw, stream, re.compile(rb"\r?\n"))
    return stream[:start] + draw(st.sampled_from([b"\n", b"\r", b"\r\r\n", b"\n\r"])) + stream[end:]


_KINDS: tuple[Callable[[st.DrawFn, bytes], bytes], ...] = (
    _line, _line, _line, _rename, _flip, _delete, _double, _insert, _repeat, _case, _size, _end,
)  # fmt: skip


@st.composite
def harmed(draw: st.DrawFn, stream: bytes) -> bytes:
    """Draw what becomes of a stream with one to three changes."""
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        stream = draw(st.sampled_from(_KINDS))(draw, stream)
    return stream


@st.composite
def harmed_requests(draw: st.DrawFn) -> bytes:
    """Draw a stream of requests that has been changed."""
    exchanges = draw(messages.conversations(4))
    return draw(harmed(b"".join(request.raw for request, _ in exchanges)))


@st.composite
def harmed_responses(draw: st.DrawFn) -> tuple[list[str], bytes]:
    """Draw the methods of some requests, and a stream of responses to them that has been changed."""
    exchanges: list[tuple[Request, Response]] = draw(messages.conversations(4))
    return asked(exchanges), draw(harmed(b"".join(response.raw for _, response in exchanges)))


def asked(exchanges: list[tuple[Request, Response]]) -> list[str]:
    """Return the methods of requests by names that every parser knows."""
    return [r.method if r.method != "OTHER" else "GET" for r, _ in exchanges]
