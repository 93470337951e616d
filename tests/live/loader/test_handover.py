"""The real programs are handed from agent to agent under HTTP traffic, and no request is lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from axon import kernel
from axon.kernel.object import packaged
from axon.settings import Settings

Attach = Callable[..., kernel.Kernel]

# A server and its clients: some keep their connection for all of their requests, one never does.
_HTTP = """
import os, socket, sys, threading
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
REQUEST = b"GET /items/%d HTTP/1.1\\r\\nHost: test\\r\\n\\r\\n"
RESPONSE = b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello"

def serve(connection):
    while data := connection.recv(4096):
        for _ in range(data.count(b"\\r\\n\\r\\n")):
            connection.sendall(RESPONSE)
    connection.close()

def accept():
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

def ask(count, keep):
    connection = socket.create_connection(listener.getsockname())
    for n in range(count):
        connection.sendall(REQUEST % n)
        left = len(RESPONSE)
        while left:
            left -= len(connection.recv(left))
        if not keep and n + 1 < count:
            connection.close()
            connection = socket.create_connection(listener.getsockname())
    connection.close()

listener = socket.create_server(("127.0.0.1", 0), backlog=128)
threading.Thread(target=accept, daemon=True).start()
clients = [threading.Thread(target=ask, args=(int(sys.argv[2]), n > 0)) for n in range(4)]
for client in clients: client.start()
for client in clients: client.join()
"""


@pytest.fixture
def traffic(settings: Settings) -> Callable[[int], subprocess.Popen[bytes]]:
    """Give a function that starts four clients of so many requests each, in the cgroup."""

    def run(each: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", _HTTP, str(settings.cgroup), str(each)])

    return run


def requests(attached: kernel.Kernel) -> dict[str, int]:
    """Return the requests counted for each role."""
    used = attached.used_slots()
    counts = np.zeros(used, np.uint64)
    for shard in attached.cells(used):
        counts += shard["hist"].sum(axis=1, dtype=np.uint64)
    roles = attached.slots(used)["key"]["role"]
    names = attached.abi.enum("ax_role")
    return {name: int(counts[roles == number].sum()) for name, number in names.items()}


@pytest.mark.parametrize("sizes", [(1000,), (1000, 2000)], ids=["same sizes", "other sizes"])
def test_handover_under_http(
    attach: Attach, traffic: Callable[[int], subprocess.Popen[bytes]], sizes: tuple[int, ...]
) -> None:
    """Agents replace one another while requests are under way; every one is counted, once."""
    attached, each, handovers = attach(packaged()), 6_000, 0
    running = traffic(each)
    while running.poll() is None:
        attached.close(detach=False)
        attached = attach(packaged(), max_series=sizes[handovers % len(sizes)])
        handovers += 1
    assert handovers >= 2
    lost = [
        name
        for name, number in attached.abi.enum("ax_stat").items()
        if name.startswith("AX_LOST") and attached.stats()[number]
    ]
    assert requests(attached) == {"AX_ROLE_SERVER": 4 * each, "AX_ROLE_CLIENT": 4 * each}, lost


def test_kernel_without_types(
    attach: Attach,
    traffic: Callable[[int], subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the kernel does not describe its own types the programs load and attach, and every request is
    counted, once.
    """
    monkeypatch.setattr("axon.kernel.object.KERNEL_BTF", Path("/nonexistent"))
    monkeypatch.setattr("axon.kernel.features.KERNEL_BTF", Path("/nonexistent"))
    attached = attach(packaged())
    assert attached.links_alive()
    assert int(attached.config["kernel_has"]) == attached.abi.enum("ax_feature")["AX_HAS_RELEASE"]
    assert traffic(500).wait(60) == 0
    assert requests(attached) == {"AX_ROLE_SERVER": 2000, "AX_ROLE_CLIENT": 2000}
    lost = [n for name, n in attached.abi.enum("ax_stat").items() if name.startswith("AX_LOST")]
    assert not attached.stats()[lost].any()
