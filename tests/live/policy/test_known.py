"""A head that this core has judged on another connection: the same bytes are the same request only from the same caller,
to the same workload, under the same policies.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from axon.policy.compiler.compile import Host
from axon.policy.compiler.layout import HostMode
from axon.policy.language.labels import Party
from tests.live.kit.gate import (
    Guarded,
    caller_cgroup,
    expect_403,
    expect_nothing,
    for_front,
    policy,
    rest,
)
from tests.live.kit.wire import Listener, get, post
from tests.live.kit.world import World

PUBLIC = '{method: ["GET", "HEAD", "POST"], path: /pub/*}'
SECRET = "{method: GET, path: /secret}"


@pytest.fixture(autouse=True)
def one_core() -> Iterator[None]:
    """Have all packets worked on by one core, which is the one that knows."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


@pytest.fixture(autouse=True)
def untold(gate: Guarded) -> Iterator[None]:
    """Have nobody told of a denial: one that is told of is read anew."""
    ctl = gate.axon.kernel.ctl
    before = ctl.copy()
    ctl["flow_interval"] = ctl["error_interval"] = 0
    yield
    for name in ("flow_interval", "error_interval"):
        ctl[name] = before[name]


def known(listener: Listener, raw: bytes, times: int = 3) -> None:
    """Have a request judged, on a connection of its own each time."""
    for _ in range(times):
        wire = listener.connect()
        wire.exchange(raw)
        wire.finish()


def denied(listener: Listener, raw: bytes, times: int = 1) -> None:
    """Assert that a request, its connection's first, is answered for its server each time."""
    for _ in range(times):
        wire = listener.connect()
        wire.client.sendall(raw)
        expect_403(wire.client, body=b"HEAD " not in raw)
        expect_nothing(wire.server)


def test_each_is_counted(gate: Guarded, anywhere: Listener) -> None:
    """Every request gets there as it was sent, and is counted once."""
    gate.allow(anywhere.port, PUBLIC)
    before = gate.verdicts()
    for raw in (get("/pub/a"), get("/pub/b", "X: " + "x" * 300), get("/pub/c", "X: " + "x" * 600)):
        known(anywhere, raw, 4)
    after = gate.verdicts()
    assert (after.forwarded - before.forwarded, after.dropped - before.dropped) == (12, 0)


@pytest.mark.parametrize("length", [40, 63, 64, 65, 128, 300, 511, 512, 513])
def test_one_byte_differs(gate: Guarded, anywhere: Listener, length: int) -> None:
    """A head that differs in any one byte of its path is another request."""
    gate.allow(anywhere.port, "{method: GET, path: /pub/aaaaaaaa}")
    fine = get("/pub/aaaaaaaa")
    fine = get("/pub/aaaaaaaa", "X: " + "x" * max(1, length - len(fine) - 5))
    known(anywhere, fine)
    for at in range(9, 17):
        denied(anywhere, fine[:at] + b"b" + fine[at + 1 :])
    known(anywhere, fine, 1)


def test_another_caller(gate: Guarded, loop: Listener) -> None:
    """What one caller may another may not, though it says the same."""
    cgroup = caller_cgroup()
    text = for_front(loop.port)

    def be(app: str) -> None:
        # there is always somebody at the front, so that the policy's set stays what it is
        cgroups = {cgroup: Party.of({"app": app}), 1 << 40: Party.of({"app": "front"})}
        gate.force(text, host=Host(cgroups=cgroups))

    be("front")
    known(loop, get("/pub/a"))
    be("other")
    denied(loop, get("/pub/a"))
    be("front")
    known(loop, get("/pub/a"), 1)


def test_another_set(gate: Guarded, anywhere: Listener) -> None:
    """What was allowed by other policies is denied by these, and the other way round."""
    gate.allow(anywhere.port, PUBLIC)
    known(anywhere, get("/pub/a"))
    gate.allow(anywhere.port, SECRET)
    denied(anywhere, get("/pub/a"))
    known(anywhere, get("/secret"))
    gate.allow(anywhere.port, PUBLIC)
    denied(anywhere, get("/secret"))
    known(anywhere, get("/pub/a"), 1)


def test_another_workload(gate: Guarded, world: World, loop: Listener) -> None:
    """What one server's policies allow another's do not."""
    other = Listener(world, world.server, world.server, "127.0.0.1")
    try:
        gate.force(policy("one", loop.port, PUBLIC) + "---\n" + policy("other", other.port, SECRET))
        known(loop, get("/pub/a"))
        known(other, get("/secret"))
        for listener, path in ((loop, "/secret"), (other, "/pub/a")):
            wire = listener.connect()
            wire.client.sendall(get(path))
            assert rest(wire.client).data.startswith(b"HTTP/1.1 403 ")
            expect_nothing(wire.server)
    finally:
        other.close()


def test_another_port_of_one_set(gate: Guarded, world: World, loop: Listener) -> None:
    """A rule for one port does not allow the same request at another one of the same workload."""
    other = Listener(world, world.server, world.server, "127.0.0.1")
    text = f"""
apiVersion: axon.dev/v1alpha1
kind: L7NetworkPolicy
metadata: {{name: web}}
spec:
  podSelector: {{}}
  ingress:
    - ports: [{{port: {loop.port}}}]
      httpRules: [{PUBLIC}]
    - ports: [{{port: {other.port}}}]
      httpRules: [{SECRET}]
"""
    try:
        gate.force(text)
        known(loop, get("/pub/a"))
        denied(other, get("/pub/a"))
        known(other, get("/secret"))
        denied(loop, get("/secret"))
    finally:
        other.close()


def test_what_comes_behind(gate: Guarded, anywhere: Listener) -> None:
    """A known head opens nothing for what follows it: in its packet, or behind it."""
    gate.allow(anywhere.port, PUBLIC)
    known(anywhere, get("/pub/a"))
    wire = anywhere.connect()
    wire.client.sendall(get("/pub/a") + get("/secret"))
    expect_nothing(wire.server)
    wire = anywhere.connect()
    wire.exchange(get("/pub/a"))
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    expect_nothing(wire.server)
    # a body that looks like a known head is a body, and what follows it a request
    wire = anywhere.connect()
    wire.ask(post("/pub/b", b"x" * len(get("/pub/a")))[: -len(get("/pub/a"))])
    wire.ask(get("/pub/a"))
    wire.answer()
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)


def test_a_head_alone(gate: Guarded, anywhere: Listener) -> None:
    """The head of a request with a body is no request without one."""
    gate.allow(anywhere.port, PUBLIC)
    whole = post("/pub/b", b"body")
    for _ in range(3):
        wire = anywhere.connect()
        wire.ask(whole[:-4])
        wire.ask(b"body")
        wire.answer()
        wire.client.sendall(get("/secret"))
        expect_403(wire.client)


def test_audited_and_then_enforced(gate: Guarded, anywhere: Listener) -> None:
    """What only mode audit has let by is denied as soon as the mode is enforce."""
    gate.allow(anywhere.port, PUBLIC, mode=HostMode.AUDIT)
    before = gate.verdicts()
    known(anywhere, get("/secret"))
    assert gate.verdicts().audit - before.audit == 3
    gate.gate.mode = HostMode.ENFORCE
    denied(anywhere, get("/secret"))


def test_head_after_get(gate: Guarded, anywhere: Listener) -> None:
    """Methods are part of what is known."""
    gate.allow(anywhere.port, "{method: GET, path: /pub/*}")
    known(anywhere, get("/pub/a"))
    denied(anywhere, get("/pub/a").replace(b"GET", b"HEAD", 1), 3)


def test_each_denial_is_counted(gate: Guarded, anywhere: Listener) -> None:
    """What is denied again is answered and counted like the first, with its reason."""
    gate.allow(anywhere.port, PUBLIC)
    before, reasons = gate.verdicts(), Counter(gate.denials())
    requests = [get("/secret"), get("/secret").replace(b"GET", b"HEAD", 1), post("/secret", b"")]
    requests += [get("/secret", "X: " + "x" * 300), get("/secret", "X: " + "x" * 600)]
    requests += [b"\r\n" + raw for raw in requests[:2]]
    for raw in requests:
        denied(anywhere, raw, 4)
    after = gate.verdicts()
    assert (after.forwarded - before.forwarded, after.dropped - before.dropped) == (0, 28)
    assert Counter(gate.denials()) - reasons == {"RULE": 28}
    gate.allow(anywhere.port, SECRET)
    known(anywhere, get("/secret"))


def test_denied_and_then_audited(gate: Guarded, anywhere: Listener) -> None:
    """What is known to be denied is let by as soon as the mode is audit."""
    gate.allow(anywhere.port, PUBLIC)
    denied(anywhere, get("/secret"), 3)
    before = gate.verdicts()
    gate.gate.mode = HostMode.AUDIT
    known(anywhere, get("/secret"))
    after = gate.verdicts()
    assert (after.audit - before.audit, after.dropped - before.dropped) == (3, 0)


def test_denied_behind_another(gate: Guarded, anywhere: Listener) -> None:
    """A head that is known to be denied is so as a connection's second request, and its first one is answered."""
    gate.allow(anywhere.port, PUBLIC)
    for _ in range(3):
        wire = anywhere.connect()
        wire.exchange(get("/pub/a"))
        wire.client.sendall(get("/secret"))
        expect_403(wire.client)
        expect_nothing(wire.server)


def test_the_end_of_a_denied_head(gate: Guarded, anywhere: Listener) -> None:
    """The rest of a head that is denied is no head, though it looks like one that is allowed."""
    gate.allow(anywhere.port, PUBLIC)
    for _ in range(3):
        wire = anywhere.connect()
        wire.client.sendall(b"GET /secret HTTP/1.1\r\nX: ")
        wire.server.recv(100)
        wire.client.sendall(get("/pub/b"))
        expect_403(wire.client)
        expect_nothing(wire.server)
    known(anywhere, get("/pub/b"))


def test_a_told_denial_says_what_was_asked(told: Guarded, anywhere: Listener) -> None:
    """A record of a denied request has its path, however often it was denied before."""
    told.allow(anywhere.port, PUBLIC)
    ctl = told.axon.kernel.ctl
    for interval in (0, 1):
        ctl["flow_interval"] = ctl["error_interval"] = interval
        denied(anywhere, get("/secret"), 4)
    flows = [
        f["path"]
        for f in told.axon.flows()
        if f["role"] == "server" and int(f["lport"]) == anywhere.port
    ]
    assert flows == ["/secret"] * 4
