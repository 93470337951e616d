"""Times: arriving packets by the clock, leaving ones as TCP has stamped them."""

from __future__ import annotations

import pytest

from tests.native.machine import Machine
from tests.native.talk import CLIENT, SERVER
from tests.native.tcp import Tcp

_ASK = b"GET /all HTTP/1.1\r\n\r\n"
_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


def durations(machine: Machine, role: int, lag: int, times: int) -> list[tuple[int, int]]:
    """Ask and answer some times over one connection, 1 ms apart; return (duration, ttfb) of each."""
    machine.observe_all()
    machine.lag = lag
    with machine.sock() as sock:
        tcp = Tcp(sock)
        for i in range(times):
            one, other = (tcp.arrive, tcp.leave) if role == SERVER else (tcp.leave, tcp.arrive)
            machine.now += 1_000_000
            one(i * len(_ASK), _ASK)
            machine.now += 1_000_000
            other(i * len(_ANSWER), _ANSWER)
    return [(int(flow["duration"]), int(flow["ttfb"])) for flow in machine.flows()]


@pytest.mark.parametrize(("role", "expected"), [(SERVER, 999_700), (CLIENT, 1_000_300)])
def test_a_leaving_packet_has_the_time_of_its_sending(
    machine: Machine, role: int, expected: int
) -> None:
    """An answer leaves, and a request begins, when TCP sends it: also where a head is the last one's again."""
    assert durations(machine, role, 300, 3) == [(expected, expected)] * 3


def test_a_duration_is_never_negative(machine: Machine) -> None:
    """An answer stamped before its request arrived on another core took no time, not 584 years."""
    assert durations(machine, SERVER, 2_000_000, 3) == [(0, 0)] * 3


@pytest.mark.parametrize(
    ("bound", "answer"),
    [
        ("flow_interval", _ANSWER),
        ("error_interval", b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("boot", [1, 20, 79, 1_000_000])
def test_a_rate_bound_holds_from_the_first_second_on(
    machine: Machine, bound: str, answer: bytes, boot: int
) -> None:
    """Of what is bound to one record in ten seconds the second passes ten seconds after the first, however soon after boot."""
    second = 1_000_000_000
    with machine.sock() as sock:
        tcp = Tcp(sock)

        def told(at: int) -> int:
            machine.now = at * second
            tcp.arrive(tcp.received, _ASK)
            tcp.leave(tcp.sent, answer)
            return len(machine.flows())

        assert told(boot) == 1  # of a new series, bound or not
        machine.ctl[bound] = 10 * second
        # as many as the bound lets through at once, since boot or since ever
        at_once = min(boot // 10, 8) + 1
        assert [told(boot) for _ in range(at_once + 3)] == [1] * at_once + [0] * 3
        assert [told(boot + 10), told(boot + 10)] == [1, 0]
        assert [told(boot + 20), told(boot + 20)] == [1, 0]
