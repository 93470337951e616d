"""The gate's reader and judge, without a packet: against what policies say, other parsers, and any cuts."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import chain, pairwise, product
from typing import NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from axon.policy.compiler.compile import Compiler, Host
from axon.policy.files.load import parse_policies
from axon.policy.judging.judge import Request, Verdict
from axon.policy.language.model import Address, Policy
from axon.policy.language.paths import LONGEST, Refusal, canonical
from tests.live.policy.test_strict import CHUNKS, FIELDS, HEADS, fields
from tests.native import messages, mutate
from tests.native.gatekeeper import Gatekeeper, cut
from tests.native.others import Read, Unfinished, h11_request, llhttp_request
from tests.native.polite import polite
from tests.native.scale import examples
from tests.unit.policy import strategies as some
from tests.unit.policy.compiler.test_compile import ends
from tests.unit.policy.simulator import Kernel, Socket

SECRET = 0x0123_4567_89AB_CDEF
EVERYTHING = """\
apiVersion: axon.dev/v1alpha1
kind: L7NetworkPolicy
metadata: {name: all}
spec:
  podSelector: {}
  ingress: [{httpRules: [{path: /**}]}]
"""
FOUR = st.lists(ends, min_size=4, max_size=4)
PLACES = st.lists(st.integers(0, 4000), max_size=12)


@pytest.fixture(scope="module")
def loaded_gate() -> Gatekeeper:
    """Give the library; a missing compiler is an error that says so."""
    return Gatekeeper()


@pytest.fixture
def gate(loaded_gate: Gatekeeper) -> Gatekeeper:
    """Give the gate of a workload that may be asked for everything."""
    compiled = Compiler(SECRET).compile(parse_policies(EVERYTHING, "all"), Host())
    kernel = Kernel(compiled, SECRET)
    loaded_gate.load(kernel.arena, SECRET)
    loaded_gate.everything = kernel.dir[kernel.set_of(Socket())]
    return loaded_gate


def head(request: Request) -> bytes:
    """Return a request as it is sent; without a Host it is one of HTTP/1.0."""
    line = b"%s %s HTTP/1.%d\r\n" % (
        request.method.encode(),
        request.target,
        request.host is not None,
    )
    host = f"Host: {request.host}\r\n".encode() if request.host is not None else b""
    return line + host + b"\r\n"


def test_the_judge_comes_to_what_policies_say(loaded_gate: Gatekeeper) -> None:
    """Of any policies the programs have the verdict, policy and rule that the arrays' reference has."""
    tally: Counter[str] = Counter()

    @examples(100)
    @given(some.situations(), some.machines, FOUR, PLACES)
    def run(
        situation: tuple[list[Policy], list[Request]],
        host: Host,
        between: list[tuple[Socket, Socket | None, Address | None]],
        places: list[int],
    ) -> None:
        policies, asked = situation
        kernel = Kernel(Compiler(SECRET).compile(policies, host), SECRET)
        loaded_gate.load(kernel.arena, SECRET)
        for request in asked:
            for server, client, address in between:
                number = kernel.set_of(server)
                if not number:
                    continue
                sent = replace(request, port=server.port, http=True)
                loaded_gate.begin(
                    kernel.dir[number],
                    ident=kernel.ident_of(client, address),
                    block=kernel.peer_of(address)[1],
                    port=server.port,
                )
                heads, seen = loaded_gate.stream(cut(head(sent), places))
                path = canonical(sent.target)
                if isinstance(path, Refusal):
                    assert seen.reason == path.name.lower(), sent
                    continue
                want = kernel.judge(server, client, address, sent)
                tally[want.verdict] += 1
                assert heads == 1, sent
                assert seen.policy == want.policy, (sent, want)
                if want.verdict is Verdict.DROPPED:
                    assert seen.reason == "rule", (sent, want)
                else:
                    assert (seen.reason, seen.verdict) == ("", want.verdict), (sent, want)
                    assert seen.rule == (want.rule & 0xFFFF), (sent, want)

    run()
    assert min(tally[v] for v in (Verdict.FORWARDED, Verdict.AUDIT, Verdict.DROPPED)) > 50


GLOBS = {"GET": "a*a", "POST": "ab*ba", "PUT": "*ab", "PATCH": "ba*", "DELETE": "a*b"}


def test_wildcards_inside_segments(loaded_gate: Gatekeeper) -> None:
    """A segment matches if it begins and ends so, and is long enough for both; every short one is tried."""
    rules = "".join(f"{{method: {m}, path: /x/{glob}}}, " for m, glob in GLOBS.items())
    text = EVERYTHING.replace("{path: /**}", rules)
    kernel = Kernel(Compiler(SECRET).compile(parse_policies(text, "globs"), Host()), SECRET)
    loaded_gate.load(kernel.arena, SECRET)
    for method, glob in GLOBS.items():
        prefix, _, suffix = glob.partition("*")
        for segment in map(
            "".join, chain.from_iterable(product("ab", repeat=n) for n in (1, 2, 3, 4, 5))
        ):
            loaded_gate.begin(kernel.dir[kernel.set_of(Socket())])
            _, seen = loaded_gate.stream([f"{method} /x/{segment} HTTP/1.0\r\n\r\n".encode()])
            want = re.fullmatch(f"{prefix}[ab]*{suffix}", segment)
            assert (seen.reason == "") == bool(want), (glob, segment)


_PIECES = st.sampled_from(
    [
        *(b"/", b"/", b"/", b".", b"..", b"a", b"A", b"%", b"%2", b"%25", b"%2e", b"%2F", b"%5c", b"%41"),
        *(b"%c3", b"%00", b"%3", b"2f", b"f", b"0", b";", b"\\", b"#", b"?", b"~", b"\x7f", b"\x80", b"x" * 300),
    ]
)  # fmt: skip


def test_paths_are_what_the_reference_says(gate: Gatekeeper) -> None:
    """A target is refused for the reason that the reference has, or read as its canonical path."""
    tally: Counter[str] = Counter()

    @examples(1500)
    @given(st.lists(_PIECES, max_size=14).map(b"".join), PLACES)
    def run(target: bytes, places: list[int]) -> None:
        target = b"/" + target
        want = canonical(target)
        gate.begin(gate.everything)
        _, seen = gate.stream(cut(b"GET " + target + b" HTTP", places))
        if isinstance(want, Refusal):
            tally[want.name] += 1
            allowed = {want.name.lower()}
            if len(target) > LONGEST:
                allowed = {"path", "long_path"}  # whichever comes first
            assert seen.reason in allowed, target
            return
        tally["read"] += 1
        assert (seen.reason, seen.phase) == ("", "version"), target
        assert seen.path == b"/" + b"/".join(want), target

    run()
    assert tally["read"] > 100
    assert tally["PATH"] > 100
    assert tally["REQUEST_LINE"] > 0


POLITE = st.lists(polite(), min_size=1, max_size=3).map(b"".join)
STREAMS = (
    POLITE
    | POLITE.flatmap(mutate.harmed)
    | messages.conversations(3).map(lambda found: b"".join(r.raw for r, _ in found))
    | mutate.harmed_requests()
)


def test_polite_requests_are_let_by(gate: Gatekeeper) -> None:
    """What is written by the RFCs' letter passes whole, whatever its fields, framing and packets."""

    @examples(200)
    @given(st.lists(polite(), min_size=1, max_size=3), PLACES)
    def run(requests: list[bytes], places: list[int]) -> None:
        gate.begin(gate.everything)
        heads, seen = gate.stream(cut(b"".join(requests), places))
        assert (seen.reason, heads, seen.phase) == ("", len(requests), "start")

    run()


def test_cuts_change_nothing(gate: Gatekeeper) -> None:
    """Of any stream the same heads are let by, and it is denied for the same reason, however it is cut."""
    tally: Counter[str] = Counter()

    @examples(250)
    @given(STREAMS, PLACES, st.sampled_from([0, 0, 1, 3]))
    def run(stream: bytes, places: list[int], every: int) -> None:
        gate.begin(gate.everything)
        heads, whole = gate.stream([stream])
        pieces = cut(stream, places if not every else list(range(0, min(len(stream), 1500), every)))
        gate.begin(gate.everything)
        assert gate.stream(pieces)[0] == heads
        gate.begin(gate.everything)
        _, last = gate.stream(pieces)
        assert last.reason == whole.reason
        if not whole.reason:
            assert (last.phase, last.left) == (whole.phase, whole.left)
        tally[whole.reason] += 1

    run()
    assert tally[""] > 40
    assert len(tally) > 4


CODED = fields("Transfer-Encoding: chunked")
DENIED = {
    **{name: (why, fields(*more) + b"0\r\n\r\n") for name, (why, *more) in FIELDS.items()},
    **{name: (why, raw) for name, (why, raw) in HEADS.items() if len(raw) < 1000},
    **{f"chunks: {name}": (why, CODED + raw) for name, (why, raw) in CHUNKS.items()},
}


@pytest.mark.parametrize(("reason", "raw"), DENIED.values(), ids=DENIED)
def test_what_is_denied_is_so_wherever_it_is_cut(gate: Gatekeeper, reason: str, raw: bytes) -> None:
    """What the live tests send to be denied is denied, after as many heads, in any two packets and in bytes."""
    gate.begin(gate.everything)
    heads, whole = gate.stream([raw])
    assert whole.reason == reason.lower()
    for places in [[at] for at in range(1, len(raw))] + [list(range(len(raw)))]:
        gate.begin(gate.everything)
        again, seen = gate.stream(cut(raw, places))
        assert (again, seen.reason) == (heads, whole.reason), places


class Message(NamedTuple):
    """A request that was let by whole: where it ends, and what it asks for."""

    end: int
    method: bytes
    path: bytes


def let_by(gate: Gatekeeper, stream: bytes) -> list[Message]:
    """Return the requests that are let by and have ended, in front of what is denied, and of an upgrade."""
    gate.begin(gate.everything)
    found, before, head_of = [], gate.feed(b""), None
    for at in range(len(stream)):
        seen = gate.feed(stream[at : at + 1])
        if seen.reason or seen.phase == "upgrade":
            break
        if seen.heads:
            head_of = before
        if head_of and seen.phase == "start":
            found.append(Message(at + 1, head_of.method, head_of.path))
            head_of = None
        before = seen
    return found


def test_others_read_what_is_let_by_alike(gate: Gatekeeper) -> None:
    """A request that is let by ends where llhttp and h11 end it, and asks for the same, or they refuse it."""
    tally: Counter[str] = Counter()

    @examples(150)
    @given(STREAMS)
    def run(stream: bytes) -> None:
        assume(len(stream) < 3000)
        found = let_by(gate, stream)
        for (start, *_), (end, method, path) in pairwise([Message(0, b"", b""), *found]):
            for opinion in (llhttp_request(stream[start:]), h11_request(stream[start:])):
                assert not isinstance(opinion, Unfinished), stream[start:]
                if isinstance(opinion, Read):
                    tally["read"] += 1
                    assert start + opinion.end == end, stream[start:]
                    assert opinion.method.encode() == method, stream[start:]
                    target = canonical(opinion.target)
                    assert isinstance(target, list), stream[start:]
                    assert b"/" + b"/".join(target) == path, stream[start:]
                else:
                    tally["refused"] += 1

    run()
    assert tally["read"] > 50  # about 200: how many streams are short enough is chance
