"""The machine's account of a stream against llhttp's and h11's opinions, message by message."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest

from tests.native import reference
from tests.native.heard import ANSWER, Account, Heard, Listening
from tests.native.machine import Machine
from tests.native.messages import METHODS
from tests.native.others import (
    Opinion,
    Read,
    Refused,
    Unfinished,
    h11_request,
    h11_response,
    llhttp_request,
    llhttp_response,
)


@dataclass(frozen=True)
class Allowed:
    """Where a parser may see a message otherwise: which, in what, in which messages; and a message of that kind."""

    parser: str
    about: frozenset[str]
    where: re.Pattern[bytes]
    why: str
    example: bytes


ALLOWED = (
    Allowed(
        "llhttp",
        frozenset({"path"}),
        re.compile(rb"\A[\r\n]*[^\r\n]*  "),
        "RFC 9112 section 3: one blank stands between a request line's words; llhttp takes several",
        b"GET  /a HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    Allowed(
        "llhttp",
        frozenset({"boundary", "unheard"}),
        re.compile(rb"(?i)\nTransfer-Encoding:[^\n]*chunked *\t[ \t]*\r?\n"),
        "RFC 9110 section 5.6.3: blanks behind a value may be tabs; llhttp takes only spaces",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n" + ANSWER,
    ),
    Allowed(
        "llhttp",
        frozenset({"boundary", "unheard"}),
        re.compile(
            rb"(?s)\A[\r\n]*CONNECT [^\n]*\n(?:.*\n)?(?i:Content-Length|Transfer-Encoding):"
        ),
        "RFC 9112 section 6.3: fields say what content CONNECT has; httptools leaves HTTP behind its head",
        b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n12345",
    ),
    Allowed(
        "h11",
        frozenset({"boundary"}),
        re.compile(rb"(?is)\nTransfer-Encoding:.*[^\r]\n"),
        "RFC 9112 section 2.2: a line may end in LF alone; h11 takes that in a head, not in front of a chunk",
        b"PURGEX / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\n\n",
    ),
)


def _path(target: bytes) -> bytes:
    """Return what should be kept of a target: a path, "*", or nothing."""
    absolute = re.match(rb"(?i)https?://[^/?#]*", target)
    if absolute and len(target) >= 8:
        target = target[absolute.end() :]
        return reference.kept_path(target)[0] if target.startswith(b"/") else b"/"
    return reference.kept_path(target)[0] if target.startswith(b"/") or target == b"*" else b""


def _about(heard: Heard, read: Read) -> set[str]:
    """What a parser and the machine do not agree on."""
    about = set()
    if (heard.wire, heard.body) != (read.end - read.start, read.body):
        about.add("boundary")
    if read.status:
        return about | ({"status"} if heard.status != read.status else set())
    if heard.method != (read.method if read.method in METHODS else "OTHER"):
        about.add("method")
    if heard.version != (read.version != "1.0"):
        about.add("version")
    path = _path(read.target)
    route = reference.template(path) if path.startswith(b"/") else b""
    if heard.route != route or (heard.told and heard.path != path):
        about.add("path")
    return about


def _dispute(heard: Heard | None, opinion: Opinion, rest: bytes, *, given_up: bool) -> set[str]:
    """What there is to explain about one parser's opinion of the message that `rest` begins with."""
    if heard is None:
        return {"unheard"} if isinstance(opinion, Read) and not given_up else set()
    if isinstance(opinion, Read):
        return _about(heard, opinion)
    if isinstance(opinion, Unfinished):
        to_the_end = rest[-heard.wire :].startswith(b"HTTP/1.")
        return set() if opinion.or_last and to_the_end else {"boundary"}
    return set()


def _explained(parser: str, about: set[str], message: bytes) -> bool:
    return any(a.parser == parser and about <= a.about and a.where.search(message) for a in ALLOWED)


class Comparison:
    """The machine's account of a stream, message by message against the others' opinions. `tally` counts them."""

    def __init__(self, stream: bytes, account: Account) -> None:
        self.stream, self.account = stream, account
        self.tally: Counter[str] = Counter()

    def run(self, ask: Callable[[int, bytes], tuple[Opinion, Opinion]]) -> Counter[str]:
        """Compare all of it; `ask` gives llhttp's and h11's opinion of message number i, which some bytes begin with."""
        at = i = 0
        while at < len(self.stream):
            rest = self.stream[at:]
            end = self._message(i, rest, dict(zip(("llhttp", "h11"), ask(i, rest), strict=True)))
            if not end:
                break
            at += end
            i += 1
        return self.tally

    def _message(self, i: int, rest: bytes, opinions: dict[str, Opinion]) -> int:
        """Compare one message; return its length with what stands before it, or 0 if it is the last."""
        heard = self.account.messages[i] if i < len(self.account.messages) else None
        reads = [o for o in opinions.values() if isinstance(o, Read)]
        agreed = len(reads) == 2 and reads[0] == reads[1]
        self.tally["both" if agreed else "one" if reads else "none"] += 1
        for parser, opinion in opinions.items():
            about = _dispute(heard, opinion, rest, given_up=bool(self.account.reasons))
            message = rest[: opinion.end] if isinstance(opinion, Read) else rest
            if about and (agreed or not _explained(parser, about, message)):
                self._fail(i, rest, heard, opinions, about)
        if heard is None or not reads:
            return 0
        return reads[0].start + heard.wire

    def _fail(
        self,
        i: int,
        rest: bytes,
        heard: Heard | None,
        opinions: dict[str, Opinion],
        about: set[str],
    ) -> None:
        said = "\n".join(f"  {name}: {opinion}" for name, opinion in opinions.items())
        pytest.fail(
            f"message {i}, about {sorted(about)}, of {rest!r}\n  axon: {heard} {self.account.reasons}\n{said}"
        )


def compare_requests(
    machine: Machine, stream: bytes, role: int, seed: int, most: int, *, prompt: bool
) -> Counter[str]:
    """Give a stream of requests to all of them."""
    machine.reset()
    machine.observe_all()
    with machine.sock() as sock:
        account = Listening(machine, sock, role, Random(seed), most).requests(stream, prompt=prompt)
    return Comparison(stream, account).run(
        lambda _, rest: (llhttp_request(rest), h11_request(rest))
    )


def compare_responses(
    machine: Machine, stream: bytes, methods: list[str], role: int, seed: int, most: int
) -> Counter[str]:
    """Give a stream of responses to requests of these methods, and to some more, to all of them."""
    methods = methods + ["GET"] * 4
    machine.reset()
    machine.observe_all()
    with machine.sock() as sock:
        account = Listening(machine, sock, role, Random(seed), most).responses(stream, methods)

    def ask(i: int, rest: bytes) -> tuple[Opinion, Opinion]:
        if i >= len(methods):
            return Refused("to no request"), Refused("to no request")
        return llhttp_response(rest, methods[i]), h11_response(rest, methods[i])

    return Comparison(stream, account).run(ask)
