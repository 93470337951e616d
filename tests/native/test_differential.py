"""The same bytes given to llhttp, to h11 and, cut anywhere, to the machine: the same messages, the same boundaries."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.native import messages, mutate
from tests.native.compare import ALLOWED, Allowed, compare_requests, compare_responses
from tests.native.machine import Machine
from tests.native.messages import Message, Request, Response
from tests.native.scale import examples
from tests.native.talk import CLIENT, SERVER

_ROLES = st.sampled_from([SERVER, CLIENT])
_LONGEST = st.sampled_from([1, 8, 80, 1448, 65_000])
_SEEDS = st.integers(0, 2**32)


@pytest.mark.parametrize("allowed", ALLOWED, ids=lambda a: f"{a.parser}: {a.why}")
def test_every_difference_that_is_allowed_exists(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, allowed: Allowed
) -> None:
    """The table holds nothing that the parsers agree on: without its line its example is a difference."""

    def compare() -> None:
        if allowed.example.startswith(b"HTTP/"):
            compare_responses(machine, allowed.example, ["GET"], SERVER, 1, 80)
        else:
            compare_requests(machine, allowed.example, SERVER, 1, 80, prompt=True)

    compare()
    monkeypatch.setattr(
        "tests.native.compare.ALLOWED", tuple(a for a in ALLOWED if a is not allowed)
    )
    with pytest.raises(pytest.fail.Exception, match=re.escape(f"{allowed.parser}:")):
        compare()


_FRAMING = (b"Content-Length: 5", b"Transfer-Encoding: chunked")
_DECOY = b"0\r\n\r\n" + b"GET /decoy HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize("field", _FRAMING)
@pytest.mark.parametrize("what", ["request", "response"])
def test_no_other_field_frames(machine: Machine, field: bytes, what: str) -> None:
    """A field whose name differs in one letter says nothing about where a message ends."""
    name = field.partition(b":")[0]
    length = b"Content-Length: %d\r\n" % len(_DECOY)
    for at in range(len(name)):
        for letter in b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz":
            line = field[:at] + bytes([letter]) + field[at + 1 :] + b"\r\n"
            if line.lower().startswith(name.lower()):
                continue
            if what == "request":
                head = b"POST / HTTP/1.1\r\nHost: h\r\n" + length + line + b"\r\n"
                tally = compare_requests(machine, head + _DECOY, SERVER, at, 65_000, prompt=True)
            else:
                head = b"HTTP/1.1 200 OK\r\n" + length + line + b"\r\n"
                tally = compare_responses(machine, head + _DECOY, [], SERVER, at, 65_000)
            assert tally["both"] == 1, line
            assert machine.losses == {}, line


def _strict(message: Message) -> bytes:
    """Return a message without what recipients may refuse: lines that end in LF alone, folded lines."""

    def lines(text: bytes) -> bytes:
        return re.sub(rb"\r\n[ \t]", b"", re.sub(rb"\r?\n", b"\r\n", text))

    content = b"".join(data if is_body else lines(data) for data, is_body in message.pieces)
    return lines(message.lead) + lines(message.head) + content


def test_generated_requests_are_what_they_are_to_others(machine: Machine) -> None:
    """Well-formed requests of every framing have the same boundaries, content, methods, paths and versions."""
    tally: Counter[str] = Counter()

    @examples(120)
    @given(
        exchanges=messages.conversations(), role=_ROLES, seed=_SEEDS, most=_LONGEST, prompt=st.booleans(),
        strict=st.booleans(),
    )  # fmt: skip
    def run(
        exchanges: list[tuple[Request, Response]], role: int, seed: int, most: int, prompt: bool,
        strict: bool,
    ) -> None:  # fmt: skip
        stream = b"".join(_strict(r) if strict else r.raw for r, _ in exchanges)
        tally.update(compare_requests(machine, stream, role, seed, most, prompt=prompt))

    run()
    assert tally["both"] > 100


def test_generated_responses_are_what_they_are_to_others(machine: Machine) -> None:
    """Well-formed responses of every framing have the same boundaries, content and status."""
    tally: Counter[str] = Counter()

    @examples(120)
    @given(
        exchanges=messages.conversations(),
        role=_ROLES,
        seed=_SEEDS,
        most=_LONGEST,
        strict=st.booleans(),
    )
    def run(
        exchanges: list[tuple[Request, Response]], role: int, seed: int, most: int, strict: bool
    ) -> None:
        stream = b"".join(_strict(r) if strict else r.raw for _, r in exchanges)
        methods = mutate.asked(exchanges)
        tally.update(compare_responses(machine, stream, methods, role, seed, most))

    run()
    assert tally["both"] > 100


def test_harmed_requests_are_never_cut_elsewhere(machine: Machine) -> None:
    """Of requests that were changed the machine hears what a strict parser does, or gives up with a reason."""
    tally: Counter[str] = Counter()

    @examples(400)
    @given(
        stream=mutate.harmed_requests(),
        role=_ROLES,
        seed=_SEEDS,
        most=_LONGEST,
        prompt=st.booleans(),
    )
    def run(stream: bytes, role: int, seed: int, most: int, prompt: bool) -> None:
        tally.update(compare_requests(machine, stream, role, seed, most, prompt=prompt))

    run()
    assert tally["both"] > 100


def test_harmed_responses_are_never_cut_elsewhere(machine: Machine) -> None:
    """Of responses that were changed the machine hears what a strict parser does, or gives up with a reason."""
    tally: Counter[str] = Counter()

    @examples(400)
    @given(harmed=mutate.harmed_responses(), role=_ROLES, seed=_SEEDS, most=_LONGEST)
    def run(harmed: tuple[list[str], bytes], role: int, seed: int, most: int) -> None:
        tally.update(compare_responses(machine, harmed[1], harmed[0], role, seed, most))

    run()
    assert tally["both"] > 100
