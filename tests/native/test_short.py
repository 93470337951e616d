"""The short way: what repeats itself on a connection is not parsed again."""

from __future__ import annotations

import pytest

from tests.native.machine import Machine
from tests.native.tcp import Tcp

_ASK = b"GET /all HTTP/1.1\r\nHost: h\r\n\r\n"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n"


@pytest.mark.parametrize(
    "cuts",
    [
        pytest.param((len(_HEAD) + 3000,), id="whole"),
        pytest.param((len(_HEAD), 3000), id="head and body"),
        pytest.param((len(_HEAD) + 1000, 1448, 552), id="segments"),
    ],
)
def test_a_server_that_repeats_itself_is_not_parsed_again(
    machine: Machine, cuts: tuple[int, ...]
) -> None:
    """Only the first exchange takes the full parser, however its answer is cut; all are counted alike."""
    answer = _HEAD + bytes(3000)
    with machine.sock() as sock:
        tcp = Tcp(sock)
        parsed = []
        for i in range(5):
            machine.now += 1_000_000
            tcp.arrive(i * len(_ASK), _ASK)
            at = i * len(answer)
            for size in cuts:
                machine.now += 1_000_000
                tcp.leave(at, answer[at - i * len(answer) :][:size])
                at += size
            parsed.append(machine.stats["INFO_PARSED"])
        assert parsed == [parsed[0]] * 5
        ((_, cell),) = machine.series()
        assert {
            name: int(cell[name]) for name in ("dur_sum", "ttfb_sum", "resp_body", "resp_wire")
        } == {
            "dur_sum": 5_000_000 * len(cuts),
            "ttfb_sum": 5_000_000,
            "resp_body": 15_000,
            "resp_wire": 5 * len(answer),
        }
