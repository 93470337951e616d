"""A start whose programs cannot be loaded or attached opens nothing that was closed and changes nothing; the next good one
takes over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from axon.kernel import bpf, tc
from axon.kernel.loader import policy_mode
from axon.kernel.object import packaged
from tests.live.kit.enforcing import DENIED, Enforcing, Traffic, launcher_of, under
from tests.live.kit.gate import expect_403, inside, policy
from tests.live.kit.wire import OK, Listener, get
from tests.live.kit.world import World

PUBLIC = "{path: /pub/*}"
OTHER = "{path: /other}"

_UNREAD = bytes((0xBF, 0x90)) + bytes(6)  # r0 = r9, which nothing has written to
_STUMBLING = """
import errno, sys
import %(module)s as module
left, original = [%(call)d], module.%(name)s
def stumble(*given, **more):
    left[0] -= 1
    if left[0] == 0:
        raise OSError(errno.ENOSPC, "No space left on device")
    return original(*given, **more)
module.%(name)s = stumble
from axon.cli import main
sys.exit(main())
"""
_POWERLESS = """
import os, sys
line = ["setpriv", "--bounding-set=-bpf,-sys_admin", sys.executable, "-m", "axon"]
os.execvp(line[0], line + sys.argv[1:])
"""


def refused_object(directory: Path, section: str) -> Path:
    """Return the packaged object with one change: the program of a section reads what it may not."""
    data = bytearray(packaged().read_bytes())
    (headers,) = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    sections = [struct.unpack_from("<I20xQ", data, headers + i * size) for i in range(count)]
    for name, offset in sections:
        start = sections[names][1] + name
        if data[start : data.index(0, start)] == section.encode():
            data[offset : offset + len(_UNREAD)] = _UNREAD
            break
    else:
        pytest.fail(f"the object has no section {section}")
    target = directory / "refused.o"
    target.write_bytes(data)
    return target


def stumbling(module: str, name: str, call: int) -> tuple[str, str]:
    """Return how Python is told to be an Axon in which one call of a function fails; see Enforcing.launcher."""
    return "-c", _STUMBLING % {"module": module, "name": name, "call": call}


@pytest.fixture
def traffic(world: World, agent: Enforcing) -> Iterator[Traffic]:
    """Give an agent's traffic, allowed and denied; nothing denied gets through."""
    listener = Listener(world, world.server, world.client, world.server.ip4)
    with under(agent, listener, policy("web", listener.port, PUBLIC)) as made:
        yield made


def attached(agent: Enforcing) -> dict[str, int]:
    """Return what is pinned and which programs run: by every link, and on each interface; and the mode."""
    found = {
        str(path.relative_to(agent.pins)): 0 for path in agent.pins.rglob("*") if path.is_file()
    }
    for path in (agent.pins / "links").iterdir():
        with bpf.obj_get(path) as link:
            found[f"links/{path.name}"] = bpf.link_info(link).prog_id
    for index in (1, 2):
        found[f"filter {index}"] = inside(agent.place, lambda i=index: tc.attached(tc.Point(i)))  # type: ignore[misc]
    with policy_mode(agent.pins) as control:
        found["mode"] = control.mode
    return found


def fails_and_recovers(
    agent: Enforcing, traffic: Traffic, launcher: tuple[str, str], *said: str
) -> None:
    """Have starts by a launcher fail, each with these words, and a good one come after them."""
    good = agent.launcher
    agent.kill()
    before = attached(agent)
    # what a start that succeeds takes up
    agent.write(policy("web", traffic.listener.port, PUBLIC, OTHER))
    agent.launcher = launcher
    for more in ({}, {"AXON_POLICY_MEMORY": "1 MiB"}, {"AXON_KEEP": "false"}):
        words = agent.refused(**more)
        assert "Traceback" not in words
        assert all(word in words for word in said), words
        traffic.flows()
        assert attached(agent) == before
    assert traffic.broken == []
    client = traffic.listener.dial()
    client.sendall(get("/other"))
    expect_403(client)
    agent.launcher = good
    agent.start()
    traffic.allowed = "/other"
    traffic.flows()
    assert traffic.broken == []
    assert agent.healthy()


@pytest.mark.parametrize("section", ["tc", "cgroup_skb/egress", "cgroup/bind6"])
def test_refused_by_the_verifier(
    agent: Enforcing, traffic: Traffic, tmp_path: Path, section: str
) -> None:
    """Whichever program the verifier refuses, it is told by its name, with what the verifier says of it."""
    program = {"tc": "ax_gate"}.get(section, "ax_" + section.rpartition("/")[2])
    broken = launcher_of(refused_object(tmp_path, section))
    log = f"{tmp_path}/run/verifier.log"
    fails_and_recovers(
        agent, traffic, broken, f"refused the program {program} ", log, "R9 !read_ok"
    )


@pytest.mark.parametrize(
    ("module", "name", "call"),
    [
        ("axon.kernel.bpf", "obj_pin", 2),
        ("axon.kernel.bpf", "link_update", 3),
        ("axon.kernel.tc", "put_filter", 1),
        ("axon.kernel.tc", "put_filter", 2),
    ],
)
def test_attached_in_part(
    agent: Enforcing, traffic: Traffic, module: str, name: str, call: int
) -> None:
    """Where a step fails after others were done, every hook and every interface has its former program again."""
    fails_and_recovers(agent, traffic, stumbling(module, name, call), "No space left on device")


def test_without_the_rights(agent: Enforcing, traffic: Traffic) -> None:
    """A start that may not load programs at all says what it takes."""
    fails_and_recovers(agent, traffic, ("-c", _POWERLESS), "needs root", "CAP_BPF")


def test_the_first_start(agent: Enforcing, world: World, tmp_path: Path) -> None:
    """Where nothing was in force nothing is left behind, no filter and no pin; the next start has them judge."""
    listener = Listener(world, world.server, world.client, world.server.ip4)
    agent.write(policy("web", listener.port, PUBLIC))
    good = agent.launcher
    try:
        for launcher in (
            launcher_of(refused_object(tmp_path, "tc")),
            stumbling("axon.kernel.bpf", "link_create", 5),  # the first ones only try
        ):
            agent.launcher = launcher
            agent.refused()
            assert inside(agent.place, lambda: [tc.attached(tc.Point(i)) for i in (1, 2)]) == [0, 0]
            assert [path for path in agent.pins.rglob("*") if path.is_file()] == []
            listener.connect().exchange(get(DENIED), OK)
        agent.launcher = good
        agent.start()
        wire = listener.connect()
        wire.exchange(get("/pub/a"))
        wire.client.sendall(get(DENIED))
        expect_403(wire.client)
    finally:
        listener.close()
