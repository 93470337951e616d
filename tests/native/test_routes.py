"""What a path is called in the kernel: the normaliser, and the patterns of the route tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from axon.routes import Pattern, parse
from axon.routes.tables import LEAVE, compile_tables, route_id
from tests.native import messages, reference
from tests.native.machine import Machine, Sock
from tests.native.scale import examples
from tests.native.tcp import Tcp

_RESPONSE = b"HTTP/1.1 204 No Content\r\n\r\n"
_SEGMENTS = st.sampled_from(
    ["api", "users", "v1", "", "orders", "42", "a", "b", "index.html", "x" * 40]
)
_PARTS = st.one_of(_SEGMENTS, _SEGMENTS, st.sampled_from(["{id}", "*"]))


class Asker:
    """A connection that asks for one path after another."""

    def __init__(self, machine: Machine, sock: Sock) -> None:
        self.machine, self.tcp = machine, Tcp(sock)
        machine.observe_all()

    def route(self, path: bytes) -> int:
        """Ask for a path; return the route that was counted."""
        request = b"GET " + path + b" HTTP/1.1\r\n\r\n"
        self.tcp.arrive(self.tcp.received, request)
        self.tcp.leave(self.tcp.sent, _RESPONSE)
        (flow,) = self.machine.flows()
        return int(flow["route"])


def install(machine: Machine, patterns: Sequence[tuple[Pattern, int]], which: int) -> None:
    """Write a set of patterns, and switch to it, as the agent does."""
    rt_set, key, bits = (machine.btf.struct(f"ax_{n}") for n in ("rt_set", "rt_key", "rt_bits"))
    tables = compile_tables(patterns, int(machine.ctl["secret"]), reference.DEPTH)
    row_key, row = _zero(key), _zero(bits)
    for (digest, depth), words in tables.segments(reference.WORDS).items():
        row_key["hash"], row_key["depth"], row_key["set"] = digest, depth, which
        row["word"] = words
        assert machine.put("ax_rt_seg", row_key.tobytes(), row.tobytes()) == 0
    machine.put("ax_rt_set", which.to_bytes(4, "little"), tables.rt_set(rt_set).tobytes())
    machine.ctl["route_set"] = which
    machine.ctl["route_serial"] += 1


def _zero(dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    return np.zeros((), dtype)


@examples(300)
@given(paths=st.lists(messages.paths(), min_size=1, max_size=8))
def test_unknown_paths_are_normalised(machine: Machine, paths: list[bytes]) -> None:
    """Numbers, UUIDs, hexadecimal and random tokens collapse; a route that has no room is "other"."""
    machine.reset()
    with machine.sock() as sock:
        asker = Asker(machine, sock)
        for path in paths:
            route = asker.route(path)
            assert machine.route(route) == reference.template(reference.kept_path(path)[0])


@pytest.mark.parametrize(
    ("path", "route"),
    [
        (b"/", b"/"),
        (b"/users/17", b"/users/{id}"),
        (b"/users/17/", b"/users/{id}/"),
        (b"/-5", b"/{id}"),
        (b"/F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6/x", b"/{uuid}/x"),
        (b"/objects/deadbeef", b"/objects/deadbeef"),
        (b"/objects/deadbee1", b"/objects/{hex}"),
        (b"/objects/deadbe1", b"/objects/deadbe1"),
        (b"/objects/deadbeefdeadbeefcafe", b"/objects/deadbeefdeadbeefcafe"),
        (b"/2024-05", b"/{id}"),
        (b"/t/eyJhbGciOi12345J9.abc-_x", b"/t/{token}"),
        (b"/v2", b"/v2"),
        (b"/%31", b"/%31"),
    ],
)
def test_some_paths_and_their_routes(machine: Machine, path: bytes, route: bytes) -> None:
    """Examples of what is an identifier and what is not."""
    with machine.sock() as sock:
        assert machine.route(Asker(machine, sock).route(path)) == route


@pytest.mark.parametrize("cut", [200, 256, 300, 700])
def test_no_query_gets_into_a_route(machine: Machine, cut: int) -> None:
    """A query string behind a long path, whose identifiers leave room, is not taken for a part of it."""
    uuid = b"/f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
    path = (uuid * 6 + b"/" + b"p" * 600)[:cut]
    with machine.sock() as sock:
        text = machine.route(Asker(machine, sock).route(path + b"?secret=1"))
    assert b"secret" not in text
    assert text == reference.template(path[: reference.PATH])


@examples(300)
@given(
    texts=st.lists(
        st.tuples(st.lists(_PARTS, min_size=1, max_size=5), st.sampled_from(["", "", "/*", "/**"])),
        min_size=1,
        max_size=90,
    ),
    paths=st.lists(
        st.lists(_SEGMENTS, min_size=1, max_size=7) | st.lists(_SEGMENTS, min_size=14, max_size=18),
        min_size=1,
        max_size=8,
    ),
    left=st.sets(st.integers(0, 89), max_size=3),
    query=st.sampled_from([b"", b"?a=/b", b"#x"]),
)
def test_patterns_match_as_the_agent_says(
    machine: Machine,
    texts: list[tuple[list[str], str]],
    paths: list[list[str]],
    left: set[int],
    query: bytes,
) -> None:
    """The kernel picks the pattern that the agent's own matcher picks, and the first that fits at all."""
    patterns = _patterns(texts)
    assume(patterns)
    named = [(p, LEAVE if i in left else route_id(p.text)) for i, p in enumerate(patterns)]
    machine.reset()
    for pattern, route in named:
        _name(machine, pattern.text, route)
    install(machine, named, which=1)
    tables = compile_tables(named, int(machine.ctl["secret"]), reference.DEPTH)
    with machine.sock() as sock:
        asker = Asker(machine, sock)
        for segments in paths:
            path = b"/" + "/".join(segments).encode()
            got = asker.route(path + query)
            kept = reference.kept_path(path)[0]
            fits = [
                i
                for i, p in enumerate(patterns)
                if reference.matches(_literals(p), kept, tail=p.tail)
            ]
            bit = tables.match(kept)
            assert bit == (fits[0] if fits else None)
            if bit is None or named[bit][1] == LEAVE:
                assert machine.route(got) == reference.template(kept)
            else:
                assert got == named[bit][1]


def _patterns(texts: list[tuple[list[str], str]]) -> list[Pattern]:
    """Parse what can be parsed, each meaning once, as the agent sorts them."""
    found: dict[object, Pattern] = {}
    for parts, tail in texts:
        try:
            pattern = parse("/" + "/".join(parts) + tail)
        except ValueError:
            continue
        found.setdefault(pattern.shape, pattern)
    return sorted(found.values(), key=lambda p: p.rank)


def _literals(pattern: Pattern) -> list[bytes | None]:
    return [None if s is None else s.encode() for s in pattern.segments]


def _name(machine: Machine, text: str, route: int) -> None:
    row = _zero(machine.btf.struct("ax_route"))
    row["len"], row["pattern"] = len(text), 1
    row["text"][: len(text)] = list(text.encode())
    machine.put("ax_routes", route.to_bytes(8, "little"), row.tobytes())


def test_a_switch_names_repeated_requests_anew(machine: Machine) -> None:
    """A connection that repeats its request is named by the new set from the switch on, and none is lost."""
    first, second = parse("/users/{name}"), parse("/users/*")
    with machine.sock() as sock:
        asker = Asker(machine, sock)
        before = [asker.route(b"/users/ann") for _ in range(3)]
        install(machine, [(first, route_id(first.text))], which=1)
        during = [asker.route(b"/users/ann") for _ in range(3)]
        install(machine, [(second, route_id(second.text))], which=0)
        after = [asker.route(b"/users/ann") for _ in range(3)]
    assert [machine.route(r) for r in before] == [b"/users/ann"] * 3
    assert during == [route_id(first.text)] * 3
    assert after == [route_id(second.text)] * 3
    assert machine.counted == 9
