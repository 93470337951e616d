"""Attaches the data plane, exchanges HTTP over loopback, and holds the counters to what was said.

`python -m tests.kernels.exchange` is the shortest proof that Axon works somewhere: it needs no
server and no client but itself. Both ends are sockets of this process, and every message goes in
pieces cut at random places, so that each count is known exactly, on the server's and on the
client's side.
"""

import argparse
import itertools
import json
import os
import random
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from axon import kernel
from axon.errors import AxonError
from axon.kernel.system import cgroup_root
from axon.settings import Settings

ROUNDS = 10
SEED = 4


@dataclass(frozen=True, slots=True)
class Message:
    """One request and its response, byte for byte, and what Axon has to count for it."""

    method: str
    status: int
    request: bytes
    response: bytes
    request_body: int = 0
    response_body: int = 0


def _chunked(body: bytes) -> bytes:
    half = len(body) // 2
    parts = (body[:half], body[half:])
    chunks = b"".join(b"%x;note=1\r\n%s\r\n" % (len(part), part) for part in parts)
    return chunks + b"0\r\nTrailer: yes\r\n\r\n"


def _messages() -> list[Message]:
    body = bytes(range(256)) * 3
    host = b"Host: shop.example\r\n"
    sized = b"Content-Length: %d\r\n" % len(body)
    coded = b"Transfer-Encoding: chunked\r\n"
    return [
        Message(
            "GET", 200,
            b"GET /items/1?q=1 HTTP/1.1\r\n" + host + b"\r\n",
            b"HTTP/1.1 200 OK\r\n" + sized + b"\r\n" + body,
            0, len(body),
        ),
        Message(
            "POST", 201,
            b"POST /items HTTP/1.1\r\n" + host + sized + b"\r\n" + body,
            b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
            len(body), 0,
        ),
        Message(
            "PUT", 200,
            b"PUT /items/2 HTTP/1.1\r\n" + host + coded + b"\r\n" + _chunked(body),
            b"HTTP/1.1 200 OK\r\n" + coded + b"\r\n" + _chunked(body),
            len(body), len(body),
        ),
        Message(
            "HEAD", 200,
            b"HEAD /items/1 HTTP/1.1\r\n" + host + b"\r\n",
            b"HTTP/1.1 200 OK\r\n" + sized + b"\r\n",
        ),
        Message(
            "DELETE", 204,
            b"DELETE /items/2 HTTP/1.1\r\n" + host + b"\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
        ),
        Message(
            "GET", 304,
            b"GET /items/3 HTTP/1.1\r\n" + host + b"\r\n",
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 304 Not Modified\r\n" + sized + b"\r\n",
        ),
    ]  # fmt: skip


@dataclass(slots=True)
class Connection:
    """Both ends of a TCP connection of this process."""

    client: socket.socket
    server: socket.socket
    cuts: random.Random

    def say(self, sender: socket.socket, receiver: socket.socket, data: bytes) -> None:
        """Sends `data` in pieces; returns when all of it has arrived."""
        cuts = sorted({0, len(data), *(self.cuts.randrange(len(data)) for _ in range(4))})
        for start, end in itertools.pairwise(cuts):
            sender.sendall(data[start:end])
        left = len(data)
        while left:
            left -= len(receiver.recv(left))

    def exchange(self, messages: Sequence[Message]) -> None:
        """Sends all the requests, one behind the other, and then all the responses."""
        self.say(self.client, self.server, b"".join(message.request for message in messages))
        self.say(self.server, self.client, b"".join(message.response for message in messages))


@contextmanager
def _connection(address: str, cuts: random.Random) -> Iterator[Connection]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as listener:
        client = socket.create_connection(listener.getsockname()[:2])
        server, _ = listener.accept()
        with client, server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                end.settimeout(60)
            yield Connection(client, server, cuts)


def talk(rounds: int, seed: int) -> list[Message]:
    """Holds `rounds` conversations, half of them over IPv6; returns every message said."""
    cuts, said = random.Random(seed), []
    for number in range(rounds):
        messages = _messages()
        cuts.shuffle(messages)
        with _connection("::1" if number % 2 else "127.0.0.1", cuts) as connection:
            for message in messages:
                connection.exchange([message])
            connection.exchange(messages)
        said += 2 * messages
    return said


Line = tuple[str, str, int]
"""Role, method and status."""


def said_of(said: Sequence[Message]) -> dict[Line, tuple[int, int, int]]:
    """What has to be counted: requests, bytes of request bodies and of response bodies."""
    lines: dict[Line, tuple[int, int, int]] = {}
    for role in ("server", "client"):
        for m in said:
            requests, sent, received = lines.get((role, m.method, m.status), (0, 0, 0))
            lines[role, m.method, m.status] = (
                requests + 1,
                sent + m.request_body,
                received + m.response_body,
            )
    return lines


def counted(attached: kernel.Kernel) -> dict[Line, tuple[int, int, int]]:
    """What the data plane has counted, in the same form."""
    names = {
        enum: {value: name.removeprefix(f"AX_{enum.upper()}_") for name, value in table.items()}
        for enum in ("role", "method")
        for table in (attached.abi.enum(f"ax_{enum}"),)
    }
    used = attached.used_slots()
    slots, cells = attached.slots(used), attached.cells(used)
    lines: dict[Line, tuple[int, int, int]] = {}
    for slot in range(used):
        key = slots["key"][slot]
        line = (
            names["role"][int(key["role"])].lower(),
            names["method"][int(key["method"])],
            int(key["status"]),
        )
        here = [
            sum(int(shard[field][slot].sum()) for shard in cells)
            for field in ("hist", "req_body", "resp_body")
        ]
        if here[0]:
            requests, sent, received = lines.get(line, (0, 0, 0))
            lines[line] = (requests + here[0], sent + here[1], received + here[2])
    return lines


def lost(attached: kernel.Kernel) -> dict[str, int]:
    """The counters of losses that are not zero."""
    stats, names = attached.stats(), attached.abi.enum("ax_stat")
    return {
        name: int(stats[number])
        for name, number in names.items()
        if name.startswith("AX_LOST_") and stats[number]
    }


@contextmanager
def own_cgroup() -> Iterator[Path]:
    """Moves this process into a cgroup of its own for a while."""
    root = cgroup_root()
    before = root / Path("/proc/self/cgroup").read_text().rpartition("0::/")[2].strip()
    mine = root / f"axon-exchange-{os.getpid()}"
    mine.mkdir()
    try:
        (mine / "cgroup.procs").write_text(str(os.getpid()))
        yield mine
    finally:
        (before / "cgroup.procs").write_text(str(os.getpid()))
        mine.rmdir()


@dataclass(frozen=True, slots=True)
class Found:
    """What came of an exchange."""

    requests: int
    seconds: float
    wrong: list[str]  # empty if all was counted exactly
    ns_per_request: float  # in BPF, both ends' programs together
    ns_per_run: dict[str, float]


def run(settings: Settings, rounds: int) -> Found:
    """Attaches, talks, detaches."""
    attached = kernel.attach(settings)
    try:
        with suppress(PermissionError):  # timing programs takes CAP_SYS_ADMIN, the rest does not
            attached.measure_runs(on=True)
        began = time.monotonic()
        said = talk(rounds, SEED)
        seconds = time.monotonic() - began
        attached.measure_runs(on=False)
        expected, found = said_of(said), counted(attached)
        wrong = [
            f"{' '.join(map(str, line))}: counted {found.get(line)}, said {expected.get(line)}"
            for line in sorted(expected.keys() | found.keys())
            if expected.get(line) != found.get(line)
        ]
        wrong += [f"{name}: {count}" for name, count in lost(attached).items()]
        stats = attached.program_stats()
    finally:
        attached.close(detach=True)
    return Found(
        requests=len(said),
        seconds=seconds,
        wrong=wrong,
        ns_per_request=sum(stat.run_time_ns for stat in stats.values()) / len(said),
        ns_per_run={n: s.run_time_ns / s.run_cnt for n, s in stats.items() if s.run_cnt},
    )


def main() -> int:
    """Returns 0 if all was counted exactly, 1 if not, 2 if Axon could not be attached."""
    line = argparse.ArgumentParser(prog="python -m tests.kernels.exchange", description=__doc__)
    line.add_argument("--rounds", type=int, default=ROUNDS)
    line.add_argument("--json", type=Path, metavar="FILE")
    line.add_argument(
        "--pins", type=Path, metavar="DIR", help="where to pin, on the BPF file system"
    )
    line.add_argument("--everything", action="store_true",
                      help="observe the whole machine, on which nobody else may speak HTTP")  # fmt: skip
    chosen = line.parse_args()
    pins = chosen.pins or Path("/sys/fs/bpf") / f"axon-exchange-{os.getpid()}"
    try:
        with (
            tempfile.TemporaryDirectory(prefix="axon-exchange-") as directory,
            nullcontext() if chosen.everything else own_cgroup() as cgroup,
        ):
            settings = Settings(pin_dir=pins, run_dir=Path(directory), cgroup=cgroup)
            found = run(settings, chosen.rounds)
    except AxonError as error:
        print(f"exchange: {error}", file=sys.stderr)
        return 2
    print(
        f"{found.requests} requests on each side in {found.seconds:.1f} s,"
        f" {found.ns_per_request:.0f} ns in BPF for each"
    )
    print("\n".join(found.wrong) or "all counted exactly")
    if chosen.json:
        chosen.json.write_text(json.dumps(asdict(found), indent=1))
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
