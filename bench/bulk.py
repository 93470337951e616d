"""Traffic that is not HTTP: what Axon takes from a bulk transfer, over loopback and over a pair of veths."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import IO, cast

from bench.cable import cable
from bench.kernel import attached, floor
from bench.report import Table, spread
from bench.world import CLIENT_CPU, SERVER_CPU, axon, cgroup, start, take_turns

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
        self.sender = start(
            [sys.executable, "-c", _SEND, address, str(port)], cpu=CLIENT_CPU, group=group
        )
        for process in (self._receiver, self.sender):
            all_.callback(process.wait)
            all_.callback(process.kill)
        time.sleep(0.3)
        self.sender.send_signal(signal.SIGSTOP)

    def total(self) -> int:
        """Bytes that the receiver has got."""
        cast("IO[str]", self._receiver.stdin).write("\n")
        return int(self._said.readline())


def _block(
    groups: Mapping[str, Path], address: str, seconds: float, where: Sequence[str]
) -> dict[str, float]:
    with ExitStack() as all_:
        streams = {
            name: _Stream(all_, group, address, 18721 + i, where)
            for i, (name, group) in enumerate(groups.items())
        }
        senders = {name: stream.sender for name, stream in streams.items()}
        before = {name: stream.total() for name, stream in streams.items()}
        active = take_turns(senders, seconds=seconds, turn=_TURN)
        return {name: (streams[name].total() - before[name]) / active[name] for name in streams}


def measure(*, blocks: int = 16, seconds: float = 4.0) -> Table:
    """Measure one stream of bytes with both ends in Axon's scope against one without.

    Beside them: a second stream without as a control, and one with programs that do nothing, at both ends.
    """
    table = Table("Bulk transfer that is not HTTP", "make bench BENCH=bulk",
                  ["one stream over", "without, Gbit/s", "without, again", "empty programs on both ends",
                   "Axon on both ends", "Axon, of empty programs"])  # fmt: skip
    with ExitStack() as all_:
        names = ("plain", "again", "empty", "axon")
        groups = {name: all_.enter_context(cgroup(name)) for name in names}
        programs = all_.enter_context(floor(Path(all_.enter_context(TemporaryDirectory()))))
        all_.enter_context(attached(programs, "empty", groups["empty"]))
        all_.enter_context(axon(groups["axon"]))
        end = all_.enter_context(cable())
        for name, address, where in (
            ("loopback", "127.0.0.1", []),
            ("veth", end.other, end.there([])),
        ):
            rates = [_block(groups, address, seconds, where) for _ in range(blocks)]
            row = [name, f"{median(r['plain'] for r in rates) * 8e-9:.1f}"]
            row += [_share(rates, of, "plain") for of in names[1:]]
            table.brief.append((f"Bulk transfer that is not HTTP, one stream over {name}", row[-1]))
            table.rows.append([*row, _share(rates, "axon", "empty")])
    table.notes.append(
        f"Medians and quartiles of {blocks} blocks of {seconds:g} s, in which all take turns of a tenth of a second. "
        "Beside Axon: a second stream without it, which shows the machine's own noise; and programs that do nothing, "
        "which show what any program on these hooks takes."
    )
    return table


def _share(rates: Sequence[Mapping[str, float]], of: str, base: str) -> str:
    return spread([r[of] / r[base] for r in rates])
