"""The agent with the capabilities of its systemd unit, and not one more."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from axon.kernel import bpf, types
from axon.kernel.pins import Pins, entries
from tests.live.agent.conftest import Running, Server

UNIT = Path(__file__).parents[3] / "deploy/systemd/axon.service"


def capabilities() -> list[str]:
    """Return the capabilities that the unit leaves, as setpriv calls them."""
    found = re.search(r"^CapabilityBoundingSet=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert found
    return [name.removeprefix("CAP_").lower() for name in found[1].split()]


@pytest.fixture
def limited(agent: Running) -> Running:
    """Give an agent that has these."""
    agent.command = (*confined(), *agent.command)
    agent.environment["AXON_KEEP"] = "true"
    return agent


def confined() -> tuple[str, ...]:
    """Return the beginning of a command that is to have these."""
    kept = ",".join(f"+{name}" for name in capabilities())
    return ("setpriv", f"--bounding-set=-all,{kept}", "--inh-caps=-all")


def test_the_unit_asks_for_little() -> None:
    """The capability that stands for nearly all others is not among the unit's."""
    assert "bpf" in capabilities()
    assert "sys_admin" not in capabilities()


def test_from_the_first_start_to_the_end(limited: Running, server: Server) -> None:
    """It starts, is followed by another, by one with other sizes, and is detached; all counts stay."""
    for asked, series in enumerate((2000, 2000, 3000, 2000), 1):
        limited.start(AXON_MAX_SERIES=str(series))
        status = Path(f"/proc/{limited.pid}/status").read_text()
        effective = int(re.search(r"CapEff:\s*(\w+)", status)[1], 16)  # type: ignore[index]
        assert not effective >> 21 & 1
        assert server.request("/status/200") == 200
        limited.tick()
        assert limited.client.snapshot().server.total == asked
        assert limited.client.status().attached
        assert limited.terminate() == 0
    command = (*confined(), sys.executable, "-m", "axon", "detach")
    done = subprocess.run(
        command, env=limited.environment, capture_output=True, text=True, check=True
    )
    assert "programs/ax_ingress" in done.stdout
    assert not limited.pins.exists()


def test_a_crash_between_links(limited: Running, server: Server) -> None:
    """An agent that ended while it gave links new programs is followed by one that goes on."""
    limited.start()
    assert server.request("/status/200") == 200
    limited.kill()
    pins = Pins(limited.pins)
    pins.coming.mkdir()
    ours = entries(pins.programs)
    # As if the last hooks' programs were already new, and the others' had been replaced by nothing.
    for path in ours[-2:]:
        path.rename(pins.coming / path.name)
    with bpf.obj_get(ours[0]) as program:
        bpf.obj_pin(program, pins.coming / ours[0].name)
    limited.start()
    limited.tick()
    assert limited.client.snapshot().server.total == 1
    assert not pins.coming.exists()
    assert [path.name for path in entries(pins.programs)] == [path.name for path in ours]


def test_what_an_older_agent_has_left(limited: Running, server: Server) -> None:
    """Pins without programs go on; without what describes the maps the remedy works."""
    limited.start()
    assert server.request("/status/200") == 200
    assert limited.terminate() == 0
    pins = Pins(limited.pins)
    for path in entries(pins.programs):
        path.unlink()
    limited.start()
    assert limited.terminate() == 0
    assert entries(pins.programs)

    for path in entries(pins.maps):
        if path.name.startswith(types.PREFIX):
            path.unlink()
    with pytest.raises(AssertionError, match="axon run --keep"):
        limited.start()
    everything = limited.command[len(confined()) :]
    subprocess.run(
        (*everything, "--keep", "--duration", "1"),
        env=limited.environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    limited.start()
    limited.tick()
    assert limited.client.snapshot().server.total == 1


def test_types_are_those_of_the_kernel(agent: Running) -> None:
    """What is kept beside the maps is what the kernel itself says of them."""
    agent.start(AXON_KEEP="true")
    assert agent.terminate() == 0
    found = {
        path.name.removeprefix(types.PREFIX)
        for path in entries(Pins(agent.pins).maps)
        if path.name.startswith(types.PREFIX)
    }
    assert len(found) == 1
    number = int(found.pop())
    assert types.bytes_of(Pins(agent.pins).maps, number) == bpf.btf_bytes(number)
