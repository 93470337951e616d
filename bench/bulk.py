"""Traffic that is not HTTP: what Axon takes from a bulk transfer, over loopback and over a pair of veths."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import IO, cast

from bench.cable import cable
from bench.hooked import NOTHING, Scope, hooked, of_axon, of_step, rates
from bench.kernel import floor
from bench.report import Table, spread
from bench.world import CLIENT_CPU, SERVER_CPU, axon, cgroup, let, start

_TURN = 0.1  # seconds
# The receiver says how many bytes have come whenever it is asked.
_RECEIVE = """
import socket, sys, threading
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("listens", flush=True)
connection, _ = listener.accept()
room, total = bytearray(1 << 20), 0
def tell():
    for _ in sys.stdin: print(total, flush=True)
threading.Thread(target=tell, daemon=True).start()
while n := connection.recv_into(room): total += n
"""
_SEND = """
import socket, sys
connection, data = socket.create_connection((sys.argv[1], int(sys.argv[2]))), b"\\0not http" * 100_000
while True: connection.sendall(data)
"""


class _Stream:
    """One stream, stopped until its turn comes."""

    def __init__(
        self, all_: ExitStack, group: Path, address: str, port: int, where: Sequence[str]
    ) -> None:
        self._receiver = start(
            [*where, sys.executable, "-c", _RECEIVE, address, str(port)],
            cpu=SERVER_CPU, group=group, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1,
        )  # fmt: skip
        self._said = cast("IO[str]", self._receiver.stdout)
        self._said.readline()
        self._sender = start(
            [sys.executable, "-c", _SEND, address, str(port)], cpu=CLIENT_CPU, group=group
        )
        for process in (self._receiver, self._sender):
            all_.callback(process.wait)
            all_.callback(process.kill)
        time.sleep(0.3)
        self._sender.send_signal(signal.SIGSTOP)
        self._total = self._ask()

    def run(self, seconds: float) -> int:
        """Let it flow for a while; return how many bytes the receiver has got."""
        before = self._total
        let(self._sender, seconds)
        self._total = self._ask()
        return self._total - before

    def _ask(self) -> int:
        cast("IO[str]", self._receiver.stdin).write("\n")
        return int(self._said.readline())


def measure(*, blocks: int = 12, seconds: float = 8.0) -> Table:
    """Measure one stream of bytes with and without Axon at both ends: the same one, so that streams need not be alike.

    Beside it: without once more as a control, and programs that do nothing.
    """
    table = Table("Bulk transfer that is not HTTP", "make bench BENCH=bulk",
                  ["one stream over", "without, Gbit/s", "without, again", "empty programs on both ends",
                   "Axon on both ends", "Axon, of empty programs"])  # fmt: skip
    with ExitStack() as all_:
        group, spare = (all_.enter_context(cgroup(name)) for name in ("bulk", "spare"))
        programs = all_.enter_context(floor(Path(all_.enter_context(TemporaryDirectory()))))
        kernel = all_.enter_context(axon(spare))
        states: dict[str, Scope] = {
            "without": NOTHING,
            "again": NOTHING,
            "empty": (of_step(programs, "empty"), [group]),
            "axon": (of_axon(kernel), [group]),
        }
        end = all_.enter_context(cable())
        for name, address, where in (
            ("loopback", "127.0.0.1", []),
            ("veth", end.other, end.there([])),
        ):
            found = []
            for i in range(blocks):
                with ExitStack() as block:
                    # its first bytes are seen, as those of a stream that is not HTTP
                    with hooked(*states.values()):
                        stream = _Stream(block, group, address, 18721 + i % 2, where)
                    found.append(rates(states, stream.run, seconds=seconds, turn=_TURN))
            row = [name, f"{median(r['without'] for r in found) * 8e-9:.1f}"]
            row += [_share(found, "again", "without")]
            row += [_share(found, of, "without", "again") for of in ("empty", "axon")]
            table.brief.append((f"Bulk transfer that is not HTTP, one stream over {name}", row[-1]))
            table.rows.append([*row, _share(found, "axon", "empty")])
    table.notes.append(
        f"Medians and quartiles of {blocks} streams, each for {seconds:g} s, in which programs are attached to its "
        "cgroup for a tenth of a second at a time, against the mean of both without. Beside Axon: without once more, "
        "which shows the machine's own noise; and programs that do nothing, which show what any program on these hooks "
        "takes."
    )
    return table


def _share(found: Sequence[Mapping[str, float]], of: str, *base: str) -> str:
    return spread([r[of] / mean(r[one] for one in base) for r in found])
