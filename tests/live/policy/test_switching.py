"""Policies change while connections are open; each request is judged by one set of them."""

from __future__ import annotations

import os
import threading
import time

import pytest

from axon.policy.compiler.compile import Host
from axon.policy.compiler.layout import HostMode
from axon.policy.language.labels import Party
from tests.live.kit.gate import (
    End,
    Guarded,
    caller_cgroup,
    expect_403,
    expect_nothing,
    for_front,
    forbidden,
    policy,
    rest,
)
from tests.live.kit.wire import OK, Listener, get, head, post, receive
from tests.live.kit.world import World

PUBLIC = '{method: ["GET", "POST"], path: /pub/*}'
SECRET = "{method: GET, path: /secret}"


def test_open_connections(gate: Guarded, anywhere: Listener) -> None:
    """An open connection is judged by the new policies from its next request on."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    wire.exchange(get("/pub/a"))
    gate.allow(anywhere.port, PUBLIC, SECRET)
    wire.exchange(get("/secret"))
    wire.exchange(get("/secret"))
    gate.allow(anywhere.port, PUBLIC)
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    expect_nothing(wire.server)


def test_the_same_request_again(gate: Guarded, anywhere: Listener) -> None:
    """A request that was allowed a moment ago, to the byte, is denied by new policies."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    for _ in range(3):
        wire.exchange(get("/pub/a"))
    gate.allow(anywhere.port, SECRET)
    wire.client.sendall(get("/pub/a"))
    expect_403(wire.client)
    expect_nothing(wire.server)


@pytest.mark.parametrize("rules", ["httpRules: [{path: /pub/*}]", "ports: []"])
def test_another_caller(gate: Guarded, world: World, loop: Listener, rules: str) -> None:
    """A caller whose labels have changed is judged anew, also for a request that was allowed a
    moment ago and where the policies are the same.
    """
    cgroup = caller_cgroup()
    text = for_front(loop.port, rules)

    def be(app: str) -> None:
        # there is always somebody at the front, so that the policy's set stays what it is
        cgroups = {cgroup: Party.of({"app": app}), 1 << 40: Party.of({"app": "front"})}
        gate.force(text, host=Host(cgroups=cgroups))

    be("front")
    wire = loop.connect()
    for _ in range(3):
        wire.exchange(get("/pub/a"))
    be("other")
    wire.client.sendall(get("/pub/a"))
    expect_nothing(wire.server)
    be("front")
    loop.connect().exchange(get("/pub/a"))


def test_caller_by_its_cgroup(gate: Guarded, world: World, anywhere: Listener) -> None:
    """A caller on this host is known by its socket, also over the loopback device; one in another
    place is `world` there, and denied by a policy that asks for labels.
    """
    cgroup = caller_cgroup()
    text = for_front(anywhere.port)
    gate.force(text, host=Host(cgroups={cgroup: Party.of({"app": "front"})}))
    wire = anywhere.connect()
    if anywhere.client is world.server:
        wire.exchange(get("/pub/a"))
        wire.client.sendall(get("/secret"))
    else:
        wire.client.sendall(get("/pub/a"))
    expect_403(wire.client)
    expect_nothing(wire.server)


@pytest.mark.parametrize("cut", [1, 5, 30, 60])
def test_within_a_head(gate: Guarded, anywhere: Listener, cut: int) -> None:
    """A half-read head is judged whole, by the policies in force when it is complete."""
    gate.allow(anywhere.port, PUBLIC, SECRET)
    for path, fine in (("/pub/a", True), ("/secret", False)):
        gate.allow(anywhere.port, PUBLIC, SECRET)
        wire = anywhere.connect()
        request = get(path, "X: " + "x" * 40)
        wire.ask(request[:cut])
        gate.allow(anywhere.port, PUBLIC)
        if fine:
            wire.ask(request[cut:])
            wire.answer()
        else:
            wire.client.sendall(request[cut:])
            expect_403(wire.client)
            expect_nothing(wire.server)


def test_what_selected_workloads_ask_themselves(
    gate: Guarded, world: World, anywhere: Listener
) -> None:
    """What a selected workload reads on connections that it has opened are answers, and pass; also
    where the connection is older than the policy, or is not HTTP.
    """
    old = anywhere.connect()
    text = for_front(anywhere.port)
    text = text.replace(f'axon.dev/port: "{anywhere.port}"', "app: all").replace(
        "app: front", "app: all"
    )
    parties = {
        number: Party.of({"app": "all"}) for number in (caller_cgroup(), world.cgroup.stat().st_ino)
    }
    gate.force(text, host=Host(cgroups=parties))
    new = anywhere.connect()
    for wire in (old, new):
        wire.server.sendall(b"220 hello\r\n" * 100)
        assert receive(wire.client, 1100) == b"220 hello\r\n" * 100
    fresh = anywhere.connect()
    if anywhere.client is world.server:  # elsewhere the caller is not known
        for _ in range(3):
            fresh.exchange(get("/pub/a"))
    fresh.client.sendall(get("/secret"))
    expect_403(fresh.client)
    expect_nothing(fresh.server)


def test_within_a_body(gate: Guarded, anywhere: Listener) -> None:
    """A body whose request was allowed passes whole after its policy has gone."""
    gate.allow(anywhere.port, PUBLIC)
    wire = anywhere.connect()
    request = post("/pub/a", get("/secret") * 10)
    wire.ask(request[:-300])
    gate.allow(anywhere.port, SECRET)
    wire.ask(request[-300:])
    wire.answer()
    wire.exchange(get("/secret"))
    wire.client.sendall(get("/pub/a"))
    expect_403(wire.client)


def test_unread_and_then_judged(gate: Guarded, anywhere: Listener) -> None:
    """A connection that passed unread is not guessed at when its policy asks for requests."""
    gate.allow(anywhere.port)
    wire = anywhere.connect()
    wire.exchange(b"\x16\x03 anything", b"at all")
    gate.allow(anywhere.port, PUBLIC)
    with gate.denying(POSITION=1):
        wire.client.sendall(get("/pub/a"))
        expect_nothing(wire.server)


def test_older_than_its_policy(gate: Guarded, anywhere: Listener) -> None:
    """A connection that is older than the policy is taken up between requests, or reset."""
    wire = anywhere.connect()
    wire.exchange(get("/secret"))
    gate.allow(anywhere.port, PUBLIC)
    wire.client.sendall(get("/pub/a"))
    seen = rest(wire.server, 1.0)
    assert seen.data in {b"", get("/pub/a")}
    if seen.data:
        wire.server.sendall(OK)
        assert receive(wire.client, len(OK)) == OK
        wire.client.sendall(get("/secret"))
        expect_403(wire.client)
        expect_nothing(wire.server)
    else:
        assert seen.how == "reset"


def test_older_and_denied(gate: Guarded, anywhere: Listener) -> None:
    """A denied request on such a connection is not read."""
    for before in (b"", get("/pub/a")):
        gate.release()
        wire = anywhere.connect()
        if before:
            wire.exchange(before)
        gate.allow(anywhere.port, PUBLIC)
        wire.client.sendall(get("/secret"))
        expect_nothing(wire.server)
        assert rest(wire.client).how in {"eof", "reset"}


def test_older_within_a_body(gate: Guarded, anywhere: Listener) -> None:
    """A body that looks like a request does not begin one: the connection goes on or is reset."""
    wire = anywhere.connect()
    request = post("/secret", get("/pub/a") * 10)
    at = len(request) - 5 * len(get("/pub/a"))
    wire.ask(request[:at])
    gate.allow(anywhere.port, PUBLIC)
    before = gate.denials()
    wire.client.sendall(request[at:])
    seen = rest(wire.server, 1.0)
    assert seen == End(b"", "reset")
    gate.expect_denials(before, POSITION=1)


def test_older_within_a_head(gate: Guarded, anywhere: Listener) -> None:
    """A head of which the first half was not judged does not pass by its second half."""
    wire = anywhere.connect()
    wire.ask(b"GET /secret?")
    gate.allow(anywhere.port, PUBLIC)
    before = gate.denials()
    wire.client.sendall(b"\r\n" + get("/pub/a"))
    assert rest(wire.server, 1.0).data == b""
    gate.expect_denials(before, POSITION=1)


@pytest.mark.parametrize("mode", [HostMode.OFF, HostMode.AUDIT])
def test_off_for_a_while(gate: Guarded, anywhere: Listener, mode: HostMode) -> None:
    """Nothing hangs when the gate was off, or only looking on, for part of a connection."""
    for part, audited in (
        (get("/secret"), "RULE"),
        (post("/secret", b"b" * 50)[:-20], "REQUEST_LINE"),
        (get("/pub/a")[:10], "REQUEST_LINE"),
    ):
        gate.allow(anywhere.port, PUBLIC)
        wire = anywhere.connect()
        wire.exchange(get("/pub/a"))
        gate.gate.mode = mode
        wire.ask(part)
        gate.gate.mode = HostMode.ENFORCE
        with gate.denying(**{"POSITION" if mode is HostMode.OFF else audited: 1}):
            wire.client.sendall(b"\r\n" + get("/secret"))
            seen = rest(wire.server, 2.0)
        assert seen.how == "reset"
        assert b"/secret" not in seen.data


def test_off_for_gigabytes(gate: Guarded, loop: Listener) -> None:
    """Nor does it matter how much was sent meanwhile: sequence numbers that have wrapped say nothing of what was judged."""
    gate.allow(loop.port, PUBLIC)
    wire = loop.connect()
    wire.ask(post("/pub/a", b"body")[:-4])
    wire.exchange(b"body")  # its head has been taken: nothing is open
    gate.gate.mode = HostMode.OFF
    for _ in range(3 << 10):
        wire.ask(b"x" * (1 << 20))
    gate.gate.mode = HostMode.ENFORCE
    with gate.denying(POSITION=1):
        wire.client.sendall(get("/secret"))
        expect_nothing(wire.server)


@pytest.mark.parametrize(
    "strange", [b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"Transfer-Encoding : chunked"]
)
def test_audited_in_doubt_and_then_enforced(
    gate: Guarded, anywhere: Listener, strange: bytes
) -> None:
    """Behind a message that servers may frame differently, and that only an audit has let by, nobody knows
    where a request begins, however well what follows looks like one.
    """
    gate.allow(anywhere.port, PUBLIC, mode=HostMode.AUDIT)
    wire = anywhere.connect()
    wire.exchange(b"POST /pub/a HTTP/1.1\r\nHost: a\r\n" + strange + b"\r\n\r\n0\r\n\r\n")
    gate.gate.mode = HostMode.ENFORCE
    with gate.denying(POSITION=1):
        wire.client.sendall(get("/pub/a"))
        expect_nothing(wire.server)


@pytest.mark.parametrize("mode", [HostMode.OFF, HostMode.AUDIT])
def test_older_and_then_enforced(gate: Guarded, anywhere: Listener, mode: HostMode) -> None:
    """Nor is it known of what came while nothing was judged: not what it was, and so not how its server has framed it."""
    wire = anywhere.connect()
    wire.exchange(b"POST /pub/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n")
    gate.allow(anywhere.port, PUBLIC, mode=mode)
    if mode is HostMode.AUDIT:
        wire.exchange(get("/pub/a"))
    gate.gate.mode = HostMode.ENFORCE
    denied = gate.denials()
    wire.client.sendall(get("/pub/a"))
    expect_nothing(wire.server)
    gate.expect_denials(denied, POSITION=1)


def test_audited_and_then_enforced(gate: Guarded, anywhere: Listener) -> None:
    """A request that only mode audit has let by is denied as soon as the mode is enforce, to the byte the same."""
    gate.allow(anywhere.port, PUBLIC, mode=HostMode.AUDIT)
    wire = anywhere.connect()
    for _ in range(3):
        wire.exchange(get("/secret"))
    gate.gate.mode = HostMode.ENFORCE
    with gate.denying(RULE=1):
        wire.client.sendall(get("/secret"))
        expect_403(wire.client)
        expect_nothing(wire.server)


def test_mode_off(gate: Guarded, anywhere: Listener) -> None:
    """Nothing is judged in mode off."""
    gate.allow(anywhere.port, PUBLIC, mode=HostMode.OFF)
    before = gate.verdicts()
    wire = anywhere.connect()
    for raw in (get("/secret"), b"\0\1\2", b"GET\n\n"):
        wire.exchange(raw)
    wire.finish()
    assert gate.verdicts() == before


@pytest.mark.parametrize("spec", ["", "mode: audit"])
def test_audit(gate: Guarded, anywhere: Listener, spec: str) -> None:
    """Under audit, of the node or of the policy, everything passes and is counted."""
    gate.allow(anywhere.port, PUBLIC, mode=HostMode.ENFORCE if spec else HostMode.AUDIT, spec=spec)
    before = gate.verdicts()
    wire = anywhere.connect()
    for path in ("/pub/a", "/pub/a", "/secret", "/secret", "/secret", "/pub/a"):
        wire.exchange(get(path))
    wire.finish()
    after = gate.verdicts()
    assert after.forwarded - before.forwarded == 3
    assert after.audit - before.audit == 3
    assert after.dropped == before.dropped


@pytest.mark.parametrize("spec", ["", "mode: audit"])
def test_audit_of_what_is_no_http(gate: Guarded, anywhere: Listener, spec: str) -> None:
    """Under audit, what is not HTTP, or not strictly, passes and is counted with its reason."""
    gate.allow(anywhere.port, PUBLIC, mode=HostMode.ENFORCE if spec else HostMode.AUDIT, spec=spec)
    before = gate.verdicts().audit
    for raw in (b"\x16\x03\x01\0\0 hello", b"GET /pub/a HTTP/1.1\nHost: a\n\n"):
        wire = anywhere.connect()
        for _ in range(3):
            wire.exchange(raw)
        wire.finish()
    assert gate.verdicts().audit - before >= 2
    assert gate.denials()


def test_audit_of_one_connection(gate: Guarded, anywhere: Listener) -> None:
    """Under audit an allowed request is not counted for what another connection sent before it."""
    gate.allow(anywhere.port, PUBLIC, mode=HostMode.AUDIT)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # both are looked at in the same work area
    try:
        fine, other = anywhere.connect(), anywhere.connect()
        fine.exchange(get("/pub/a"))
        other.exchange(b"\x16\x03\x01\0\0 hello")
        before = gate.verdicts()
        fine.exchange(get("/pub/a"))
    finally:
        os.sched_setaffinity(0, cores)
    after = gate.verdicts()
    assert (after.forwarded - before.forwarded, after.audit - before.audit) == (1, 0)


def test_audit_beside_enforcement(gate: Guarded, anywhere: Listener) -> None:
    """A policy that audits neither allows nor denies; one that enforces does beside it."""
    gate.force(
        policy("web", anywhere.port, PUBLIC)
        + "---\n"
        + policy("looks", anywhere.port, SECRET, spec="mode: audit")
    )
    before = gate.verdicts()
    wire = anywhere.connect()
    wire.exchange(get("/pub/a"))
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    after = gate.verdicts()
    assert (after.audit - before.audit, after.dropped - before.dropped) == (1, 1)


def test_verdicts(gate: Guarded, anywhere: Listener) -> None:
    """Each request is counted once, by its policy and verdict."""
    gate.allow(anywhere.port, PUBLIC)
    before = gate.verdicts()
    for _ in range(3):
        wire = anywhere.connect()
        wire.exchange(get("/pub/a"))
        wire.exchange(get("/pub/a"))
        wire.exchange(get("/pub/b"))
        wire.exchange(post("/pub/c", b"body"))
        wire.client.sendall(get("/secret"))
        expect_403(wire.client)
    after = gate.verdicts()
    assert (after.forwarded - before.forwarded, after.dropped - before.dropped) == (12, 3)


def test_under_load(gate: Guarded, anywhere: Listener) -> None:
    """While two policies alternate each request is judged by the one or the other: what both allow
    always passes, what both deny never does, the rest either way, in whole.
    """
    one = '{path: /pub/*}, {path: "/a/{x}/c"}'
    two = '{path: /pub/*}, {path: "/a/b/{y}"}'
    stop = threading.Event()
    switches = [0]

    def switch() -> None:
        while not stop.is_set():
            gate.allow(anywhere.port, one if switches[0] % 2 else two)
            switches[0] += 1
            time.sleep(0.002)

    gate.allow(anywhere.port, one)
    thread = threading.Thread(target=switch)
    thread.start()
    counts = {"passed": 0, "denied": 0}
    try:
        began = time.monotonic()
        while (past := time.monotonic() - began) < 60:
            if past > 2 and switches[0] > 50 and min(counts.values()) > 5:
                break
            wire = anywhere.connect()
            for _ in range(5):
                wire.exchange(get("/pub/a"))
            wire.exchange(get("/a/b/c"))
            wire.client.sendall(get("/a/b/d"))
            wire.server.settimeout(5)
            try:
                assert receive(wire.server, len(get("/a/b/d"))) == get("/a/b/d")
                wire.answer()
                counts["passed"] += 1
                wire.client.sendall(get("/a/x/d"))
            except ConnectionResetError:
                counts["denied"] += 1
            assert rest(wire.client) == End(forbidden(), "eof")
            assert rest(wire.server).data == b""
            wire.client.close()
            wire.server.close()
    finally:
        stop.set()
        thread.join()
    assert switches[0] > 50
    assert min(counts.values()) > 5, counts


def test_a_change_is_quick(gate: Guarded, loop: Listener) -> None:
    """A changed policy is in force when the call returns, within 100 ms."""
    gate.allow(loop.port, PUBLIC)
    for i in range(10):
        before = time.monotonic()
        gate.allow(loop.port, PUBLIC, f"{{path: /new/{i}}}")
        assert time.monotonic() - before < 0.1
        wire = loop.connect()
        wire.exchange(get(f"/new/{i}"))
        wire.client.sendall(head("GET /new/none HTTP/1.1", "Host: a"))
        expect_403(wire.client)
