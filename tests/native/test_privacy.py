"""What must not leave the kernel: queries, fragments, names and passwords, whatever form a target has."""

from __future__ import annotations

import pytest

from tests.native.machine import Machine
from tests.native.tcp import Tcp

_ANSWER = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (b"GET /login?token=SECRET HTTP/1.1", b"/login"),
        (b"GET /login#SECRET HTTP/1.1", b"/login"),
        (b"GET http://user:SECRET@h/x?token=SECRET HTTP/1.1", b"/x"),
        (b"GET https://user:SECRET@h?token=SECRET HTTP/1.1", b"/"),
        (b"GET foo?token=SECRET HTTP/1.1", b""),
        (b"GET  /login?token=SECRET HTTP/1.1", b""),
        (b"GET ftp://user:SECRET@h/x?token=SECRET HTTP/1.1", b""),
        (b"GET ws://h/c?token=SECRET HTTP/1.1", b""),
        (b"CONNECT user:SECRET@h:443 HTTP/1.1", b""),
        (b"OPTIONS * HTTP/1.1", b"*"),
        (b"GET " + b"/1" * 60 + b"/?token=SECRET HTTP/1.1", b"/1" * 60 + b"/"),
        (b"GET " + b"/9" * 125 + b"?token=SECRET HTTP/1.1", b"/9" * 125),
        (b"GET foo?" + b"SECRET" * 200 + b" HTTP/1.1", b""),
    ],
)
def test_only_a_path_is_kept(machine: Machine, line: bytes, path: bytes) -> None:
    """A flow record and a route's name hold the path, and nothing that stands behind or before it."""
    machine.observe_all()
    with machine.sock() as sock:
        tcp = Tcp(sock)
        tcp.arrive(0, line + b"\r\nHost: h\r\nAuthorization: SECRET\r\nCookie: SECRET\r\n\r\n")
        tcp.leave(0, _ANSWER)
        (flow,) = machine.flows()
        assert bytes(flow["path"][: flow["path_len"]]) == path
        assert b"SECRET" not in bytes(flow["path"]) + bytes(flow["host"])
        for key, _ in machine.series():
            assert b"SECRET" not in machine.route(key["route"])
