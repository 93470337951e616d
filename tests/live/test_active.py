"""What is in flight and open is told when it is asked for, on kernels that can."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from axon.kernel import Active, probe
from tests.live.kit.axon import Axon
from tests.live.kit.wire import OK, Listener, Wire, get, head, post

Look = Callable[[], Active]

TELLS = probe()["socket iterator"].state == "ok"
ROLES = {"server": 0, "client": 1}


@pytest.fixture
def look(axon: Axon) -> Look:
    """Give a function that looks now, at the price of waiting for the next second."""

    def now() -> Active:
        asked = time.monotonic_ns()
        while True:
            seen = axon.kernel.active()
            assert seen is not None
            if seen.t_ns >= asked:
                return seen
            time.sleep(0.05)

    return now


def flights(look: Active, port: int, role: str) -> NDArray[np.void]:
    """Return the connections to a server's port that have requests in flight."""
    records = look.flights
    mine: NDArray[np.void] = records[(records["port"] == port) & (records["role"] == ROLES[role])]
    return mine


def test_kernels_that_cannot_tell(axon: Axon) -> None:
    """Where the doctor finds no iterator (before Linux 5.11) Axon works, and tells nothing."""
    assert (axon.kernel.active() is not None) == TELLS


class TestWhereTheKernelTells:
    """Left out, not skipped, where it does not."""

    __test__ = TELLS

    def test_requests_are_in_flight_until_they_are_answered(
        self, look: Look, axon: Axon, listener: Listener
    ) -> None:
        """Each unanswered request is told at both ends, with its method and its beginning; then none."""
        began = time.monotonic_ns()
        wires = [listener.connect() for _ in range(20)]
        for i, wire in enumerate(wires):
            wire.ask(post("/slow", b"body") if i < 5 else get("/slow"))
        asked = time.monotonic_ns()
        seen = look()
        methods = axon.kernel.abi.enum("ax_method")
        for role in ROLES:
            mine = flights(seen, listener.port, role)
            assert mine["requests"].tolist() == [1] * 20
            assert np.count_nonzero(mine["method"] == methods["AX_METHOD_POST"]) == 5
            assert np.count_nonzero(mine["method"] == methods["AX_METHOD_GET"]) == 15
            assert began <= mine["since"].min() <= mine["since"].max() <= asked
            assert len({record["comm"].tobytes() for record in mine}) == 1
            assert mine["pid"].all()
        for wire in wires[:8]:
            wire.answer()
        assert len(flights(look(), listener.port, "server")) == 12
        for wire in wires[8:]:
            wire.answer()
        assert not len(flights(look(), listener.port, "server"))
        assert not len(flights(look(), listener.port, "client"))

    def test_pipelined_requests(self, look: Look, axon: Axon, wire: Wire) -> None:
        """All that wait on a connection are told, with the method and the beginning of the oldest."""
        wire.ask(get("/1") + post("/2", b"") + get("/3"))
        (before,) = flights(look(), wire.port, "server")
        assert before["requests"] == 3
        wire.answer()
        (after,) = flights(look(), wire.port, "server")
        assert after["requests"] == 2
        assert after["method"] == axon.kernel.abi.enum("ax_method")["AX_METHOD_POST"]
        assert after["since"] >= before["since"]
        wire.answer(OK + OK)
        assert not len(flights(look(), wire.port, "server"))

    def test_half_a_head_and_half_a_response(self, look: Look, wire: Wire) -> None:
        """A request is in flight from the end of its head to the end of its response."""
        request, response = get("/"), head("HTTP/1.1 200 OK", "Content-Length: 4") + b"body"
        wire.ask(request[:10])
        assert not len(flights(look(), wire.port, "server"))
        wire.ask(request[10:])
        wire.answer(response[:-2])
        assert len(flights(look(), wire.port, "server")) == 1
        wire.answer(response[-2:])
        assert not len(flights(look(), wire.port, "server"))

    def test_open_connections_are_counted(self, look: Look, axon: Axon, listener: Listener) -> None:
        """Sockets are counted by role and kind for as long as they are open."""
        before = look().open.astype(np.int64)
        wires = [listener.connect() for _ in range(12)]
        for wire in wires[:10]:
            wire.exchange(get("/"))
        for wire in wires[10:]:
            wire.ask(b"\x16\x03\x01\x00\x05hello")
        kinds = axon.kernel.abi.enum("ax_kind")
        grown = look().open - before
        for role in ROLES.values():
            assert grown[role, kinds["AX_KIND_HTTP"]] == 10
            assert grown[role, kinds["AX_KIND_TLS"]] == 2
        for wire in wires:
            wire.finish()
        assert (look().open - before)[:, kinds["AX_KIND_HTTP"]].tolist() == [0, 0]

    def test_more_than_one_read_holds(self, look: Look, listener: Listener) -> None:
        """More connections in flight than fit into the kernel's buffer are each told once."""
        wires = [listener.connect() for _ in range(350)]
        for wire in wires:
            wire.ask(get("/"))
        seen = look()
        assert len(flights(seen, listener.port, "server")) == 350
        assert len(flights(seen, listener.port, "client")) == 350
        assert len(np.unique(seen.flights["cookie"])) == len(seen.flights)

    def test_looks_are_at_most_one_a_second(self, look: Look, axon: Axon) -> None:
        """Who asks again at once is given the same look."""
        first = look()
        assert axon.kernel.active() is first
