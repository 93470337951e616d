"""Flow records say what was decided of a request, by which policy and rule, and of whom."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from axon.agent.matching import compile_filter
from axon.api.filters import parse
from axon.policy.compiler.compile import Host
from axon.policy.compiler.layout import HostMode
from axon.policy.language.labels import Party
from tests.live.kit.gate import End, Guarded, caller_cgroup, expect_403, for_front, rest
from tests.live.kit.wire import Listener, Wire, get, head, post, receive

RULES = ("{method: GET, path: /pub/*}", "{method: POST, path: /in}")
NONE = 0xFFFF


def served(gate: Guarded, port: int) -> list[dict[str, Any]]:
    """Take the server's records of a port."""
    return [f for f in gate.axon.flows() if f["role"] == "server" and int(f["lport"]) == port]


def decided(gate: Guarded, flow: dict[str, Any]) -> tuple[str, str, int, str]:
    """Return a record's verdict, policy, rule and reason, in words."""
    verdicts = {n: name for name, n in gate.axon.kernel.abi.enum("ax_verdict").items()}
    denials = {n: name for name, n in gate.axon.kernel.abi.enum("ax_deny").items()}
    return (
        verdicts[int(flow["verdict"])].removeprefix("AX_VERDICT_"),
        gate.gate.policy_name(int(flow["policy"])),
        int(flow["rule"]),
        denials[int(flow["deny"])].removeprefix("AX_DENY_"),
    )


def test_forwarded(told: Guarded, anywhere: Listener) -> None:
    """An answered request's record names its policy and rule, also where the head came again."""
    told.allow(anywhere.port, *RULES)
    wire = anywhere.connect()
    for _ in range(3):
        wire.exchange(get("/pub/a"))
    wire.exchange(post("/in", b"body"))
    wire.exchange(get("/pub/b"))
    flows = served(told, anywhere.port)
    assert [decided(told, f) for f in flows] == [
        ("FORWARDED", "default/web", rule, "NONE") for rule in (0, 0, 0, 1, 0)
    ]
    assert [int(f["status"]) for f in flows] == [200] * 5


def test_forwarded_in_one_packet(told: Guarded, loop: Listener) -> None:
    """Of pipelined requests each record has its own rule; of more than are kept, the newest ones."""
    told.allow(loop.port, *RULES)
    wire = loop.connect()
    for n in (3, 8, 12):
        wire.ask(b"".join(post("/in", b"") if i % 3 else get("/pub/a") for i in range(n)))
        for _ in range(n):
            wire.answer()
        flows = served(told, loop.port)
        rules = [(int(f["verdict"]), int(f["rule"])) for f in flows]
        # the first of twelve were overwritten before they were answered
        want = [(1, 1 if i % 3 else 0) if i >= n - 8 else (0, 0) for i in range(n)]
        assert rules == want


def test_forwarded_before_it_was_accepted(told: Guarded, anywhere: Listener) -> None:
    """A request that came before there was a socket for it is told of like any other."""
    anywhere.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
    told.allow(anywhere.port, *RULES)
    for first, rule in ((post("/in", b"body"), 1), (get("/pub/a"), 0)):
        client = anywhere.dial()
        client.sendall(first)
        wire = Wire(client, anywhere.accept(), anywhere.port)
        receive(wire.server, len(first))
        if rule:
            wire.answer()
            wire.exchange(get("/pub/b"))
        else:  # the second has come before the first is told of
            wire.ask(get("/pub/b"))
            wire.answer()
            wire.answer()
        flows = served(told, anywhere.port)
        assert [decided(told, f) for f in flows] == [
            ("FORWARDED", "default/web", n, "NONE") for n in (rule, 0)
        ]
        assert flows[0]["ident"] == flows[1]["ident"]


def test_denied(told: Guarded, anywhere: Listener) -> None:
    """A denied request's record has what was asked, by whom, and who denied it."""
    told.allow(anywhere.port, *RULES)
    wire = anywhere.connect()
    wire.exchange(get("/pub/a"))
    served(told, anywhere.port)
    wire.client.sendall(
        head("DELETE /secret/" + "x" * 300 + "?token=1 HTTP/1.1", "Host: Shop.Test")
    )
    expect_403(wire.client)
    (flow,) = served(told, anywhere.port)
    assert decided(told, flow) == ("DROPPED", "default/web", NONE, "RULE")
    assert (int(flow["status"]), int(flow["number"]), flow["error"]) == (403, 1, "")
    assert flow["path"] == ("/secret/" + "x" * 300)[:256]
    assert flow["host"] == "shop.test"
    assert flow["method"] == "DELETE"
    assert int(flow["rport"]) == wire.client.getsockname()[1]
    flags = told.axon.kernel.abi.enum("ax_flow_flag")
    assert int(flow["flags"]) & flags["AX_FLOW_DENIED"]
    assert int(flow["flags"]) & flags["AX_FLOW_PATH_CUT"]


@pytest.mark.parametrize(
    ("raw", "reason", "method"),
    [
        (b"GET //pub HTTP/1.1\r\nHost: a\r\n\r\n", "PATH", "GET"),
        (b"\x16\x03\x01\0\0 hello", "NON_HTTP", "OTHER"),
        (head("GET /pub/a HTTP/1.1", "Host: a", "Host: b"), "HOST", "GET"),
        (b"BREW /pub/a HTTP/1.1\r\nHost: a\r\n\r\n", "RULE", "OTHER"),
    ],
)
def test_reasons(told: Guarded, loop: Listener, raw: bytes, reason: str, method: str) -> None:
    """What is no allowed request has its reason, and no more of it than was read."""
    told.allow(loop.port, *RULES)
    wire = loop.connect()
    wire.client.sendall(raw)
    rest(wire.client)
    (flow,) = served(told, loop.port)
    assert decided(told, flow) == ("DROPPED", "default/web", NONE, reason)
    assert flow["method"] == method


def test_denied_by_a_reset(told: Guarded, anywhere: Listener) -> None:
    """Where the connection was reset there is no status, but the error and the number say it."""
    told.allow(anywhere.port, *RULES)
    wire = anywhere.connect()
    wire.client.sendall(get("/pub/a") * 2 + get("/secret"))
    assert rest(wire.client) == End(b"", "reset")
    flow = next(f for f in served(told, anywhere.port) if int(f["verdict"]) == 3)
    assert (int(flow["status"]), flow["error"], int(flow["number"])) == (0, "reset", 2)
    assert flow["path"] == "/secret"


@pytest.mark.parametrize("spec", ["", "mode: audit"])
def test_audited(told: Guarded, anywhere: Listener, spec: str) -> None:
    """Under audit the record of the answered request says that it would have been denied; all of
    them are told of, within the bound for errors.
    """
    told.allow(anywhere.port, *RULES, mode=HostMode.ENFORCE if spec else HostMode.AUDIT, spec=spec)
    wire = anywhere.connect()
    wire.exchange(get("/other"))
    wire.exchange(get("/pub/a"))
    served(told, anywhere.port)
    ctl = told.axon.kernel.ctl
    ctl["flow_interval"], ctl["audit"] = 0, 1
    for path in ("/pub/a", "/other", "/other"):
        wire.exchange(get(path))
    flows = served(told, anywhere.port)
    assert [(f["path"], int(f["status"])) for f in flows] == [("/other", 200)] * 2
    assert [decided(told, f) for f in flows] == [("AUDIT", "default/web", NONE, "RULE")] * 2


def test_who_asked(told: Guarded, loop: Listener) -> None:
    """The record has the number of the caller's labels."""
    labels = Party.of({"app": "front"})
    compiled = told.force(for_front(loop.port), host=Host(cgroups={caller_cgroup(): labels}))
    wire = loop.connect()
    wire.exchange(get("/pub/a"))
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    flows = served(told, loop.port)
    callers = [compiled.parties[int(f["ident"])].labels["app"] for f in flows]
    assert callers == ["front", "front"]


def test_filter(told: Guarded, loop: Listener) -> None:
    """An observer of verdicts gets those, before any bound, and they are counted."""
    told.allow(loop.port, *RULES)
    kernel = told.axon.kernel
    kernel.ctl["flow_interval"] = kernel.ctl["error_interval"] = 0
    wanted = ["verdict=dropped", "verdict=forwarded", "verdict=forwarded&not=verdict"]
    for i, text in enumerate(wanted):
        query = [tuple(part.split("=")) for part in text.split("&")]
        kernel.filters[i] = compile_filter(kernel.abi, parse(query))  # type: ignore[arg-type]
        kernel.filters["active"][i] = 1
    kernel.ctl["filters"] = 7
    wire = loop.connect()
    wire.exchange(get("/pub/a"))
    wire.exchange(get("/pub/b"))
    wire.client.sendall(get("/secret"))
    expect_403(wire.client)
    flows = served(told, loop.port)
    assert [int(f["matched"]) for f in flows] == [0b010, 0b010, 0b101]
    # the client's own records have no verdict: they pass what is turned round
    assert kernel.filters["matched"][:2].tolist() == [1, 2]
