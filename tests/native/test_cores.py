"""Packets of one connection on several cores: their hooks overlap in every way, and TCP goes on meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

from tests.native.machine import Machine
from tests.native.tcp import Tcp

_ASK = b"GET /all HTTP/1.1\r\n\r\n"
_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
_N = len(_ASK)
_MOST_CALLS = 120  # no packet here makes more


@contextmanager
def overlapping(
    machine: Machine, one: Callable[[], None], other: Callable[[], None], begin: int, stop: int
) -> Iterator[bool]:
    """Let one packet's hook run, and another's, which begins at a call of the one, up to a call of its own.

    What is in the block happens then; behind it the other runs to its end. Yields whether it makes so many calls.
    """
    stopped: list[bool] = []
    with ExitStack() as rest:
        with machine.beside(
            begin, lambda: stopped.append(rest.enter_context(machine.held(stop, other)))
        ):
            one()
        yield stopped[0]


def everywhere(scene: Callable[[int, int], bool]) -> None:
    """Play a scene with the other packet's hook begun, and stopped, at every call."""
    for begin in range(1, _MOST_CALLS):
        for stop in count(1):
            if not scene(begin, stop):
                break


def test_a_run_that_one_core_reads_is_no_gap_for_another(machine: Machine) -> None:
    """Data behind a run that another core has taken, and TCP accepted, waits until that one has read it."""

    def scene(begin: int, stop: int) -> bool:
        machine.reset()
        with machine.sock() as sock:
            tcp = Tcp(sock)
            tcp.arrive(0, _ASK)
            tcp.leave(0, _ANSWER)
            tcp.arrive(2 * _N, _ASK)
            with overlapping(
                machine,
                lambda: tcp.arrive(_N, _ASK),
                lambda: tcp.arrive(4 * _N, _ASK, fate="waits"),
                begin,
                stop,
            ) as stopped:
                tcp.arrive(3 * _N, _ASK, fate="waits")
            tcp.settle()
            tcp.leave(len(_ANSWER), _ANSWER * 4)
            assert (machine.counted, machine.losses) == (5, {}), (begin, stop)
        return stopped

    everywhere(scene)


def test_a_connection_may_be_met_on_two_cores(machine: Machine) -> None:
    """A connection's first two packets are both read, wherever the hook of one is when TCP takes the other."""

    def scene(begin: int, stop: int) -> bool:
        machine.reset()
        with machine.sock() as sock:
            tcp = Tcp(sock)
            with overlapping(
                machine,
                lambda: tcp.arrive(0, _ASK),
                lambda: tcp.arrive(_N, _ASK, fate="waits"),
                begin,
                stop,
            ) as stopped:
                pass
            tcp.settle()
            tcp.leave(0, _ANSWER * 2)
            assert (machine.counted, machine.losses) == (2, {}), (begin, stop)
        return stopped

    everywhere(scene)
