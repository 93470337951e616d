"""What the fuzzer begins with: scripts of ordinary conversations, and the words of the language.

The shape of a script is that of fuzz.c.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, Phase, given, settings

from tests.native import messages
from tests.native.messages import Request, Response

_ARRIVE, _LEAVE = 0x00, 0x10
_LONG = 0x02  # the payload's length has two bytes
_AHEAD, _DAMAGED, _AGAIN, _FIN, _DIE, _LATER, _TROUBLE, _TURN, _EARLY = (
    0x44, 0x84, 0xC6, 0x47, 0x09, 0x0A, 0x0C, 0x0D, 0x4F,
)  # fmt: skip
_MOST = 4000
_WORDS = (
    *messages.METHODS, " / HTTP/1.1\\x0d\\x0a", "HTTP/1.1 200 OK\\x0d\\x0a", "HTTP/1.0 ", "HTTP/2.0", "100 ",
    "101 ", "204 ", "304 ", "Content-Length: ", "Transfer-Encoding: chunked\\x0d\\x0a", "gzip, ", "Host: ",
    "\\x0d\\x0a", "\\x0d\\x0a\\x0d\\x0a", "0\\x0d\\x0a\\x0d\\x0a", "5\\x0d\\x0a", "a;b=c\\x0d\\x0a", "ffffffffffffffff", "http://h/",
    "*", "?", "\\x16\\x03\\x01", "/0123456789abcdef", "/12-34", "/f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
)  # fmt: skip


def _conversations(most: int) -> list[list[tuple[Request, Response]]]:
    """Draw short conversations, the same ones every time."""
    found: list[list[tuple[Request, Response]]] = []

    @settings(
        max_examples=most,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(messages.conversations(2))
    def collect(exchanges: list[tuple[Request, Response]]) -> None:
        if sum(len(a.raw) + len(b.raw) for a, b in exchanges) < _MOST:
            found.append(exchanges)

    collect()
    return found


def _packet(op: int, data: bytes) -> bytes:
    return bytes([op | _LONG]) + len(data).to_bytes(2, "big") + data


def _pieces(rnd: Random, data: bytes) -> list[bytes]:
    cuts = sorted({0, len(data), *(rnd.randint(0, len(data)) for _ in range(rnd.randint(0, 3)))})
    return [data[a:b] for a, b in pairwise(cuts)]


def _accident(rnd: Random, data: bytes) -> bytes:
    """Something that happens beside a piece, as a script."""
    short = data[:255]
    return rnd.choice(
        [
            bytes([_LATER, rnd.randrange(32)]),
            bytes([_DAMAGED, len(short)]) + short[::-1],
            bytes([_AHEAD, rnd.randrange(60), len(short)]) + short,
            bytes([_AGAIN, rnd.randrange(200), rnd.randrange(200)]),
            bytes([_TURN, rnd.randrange(256)]),
            bytes([_TROUBLE, rnd.randrange(16), rnd.randrange(60)]),
            bytes([_EARLY, len(short)]) + short,
        ]
    )


def _script(rnd: Random, exchanges: list[tuple[Request, Response]]) -> bytes:
    role = rnd.choice([_ARRIVE, _LEAVE])
    out = bytes([0, rnd.choice([0, 0, 4, 8, 16, 64, 128])])
    for request, response in exchanges:
        for op, message in ((role, request), (role ^ _LEAVE, response)):
            for piece in _pieces(rnd, message.raw):
                out += _accident(rnd, piece) if rnd.random() < 0.3 else b""
                out += _packet(op, piece)
    return out + bytes([_FIN | role ^ _LEAVE, _DIE, rnd.randrange(16)])


def _twice(rnd: Random, exchanges: list[tuple[Request, Response]]) -> bytes:
    asked = b"".join(request.raw for request, _ in exchanges)
    answered = b"".join(response.raw for _, response in exchanges)
    head = bytes([1, rnd.randrange(2)]) + rnd.randbytes(2) + len(asked).to_bytes(2, "big")
    return head + asked + answered


def write(corpus: Path, words: Path, most: int = 150) -> None:
    """Write seeds into a directory, and a dictionary."""
    rnd = Random(1)
    for i, exchanges in enumerate(_conversations(most)):
        (corpus / f"script-{i}").write_bytes(_script(rnd, exchanges))
        (corpus / f"twice-{i}").write_bytes(_twice(rnd, exchanges))
    words.write_text("".join(f'"{word}"\n' for word in _WORDS))
