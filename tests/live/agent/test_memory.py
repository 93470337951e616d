"""What stays of the agent in memory, with few series and with many, asked in every form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from axon import kernel
from axon.export.native import PROTOBUF
from axon.export.text import OPENMETRICS
from axon.settings import Settings, Size
from bench.scrape import fill
from tests.live.agent.conftest import Running
from tests.live.kit.gate import policy
from tests.live.kit.waiting import until
from tests.live.kit.world import World

_FORMS = (OPENMETRICS, PROTOBUF)
_MANY = 10_000


@pytest.fixture
def quiet(world: World) -> Iterator[Path]:
    """Give a cgroup in which nothing happens."""
    path = world.cgroup / "quiet"
    path.mkdir()
    yield path
    path.rmdir()


def begin(agent: Running, cgroup: Path, scratch: Path, series: int, idle_seconds: int) -> None:
    """Start an agent on so many series, which were made as the programs make them."""
    settings = Settings(
        pin_dir=agent.pins,
        run_dir=scratch / "run",
        cgroup=cgroup,
        max_series=2 * series,
        max_memory=Size(1 << 30),
    )
    plane = kernel.attach(settings)
    for _ in range(series):
        assert plane._maps["ax_free"].pop() is not None
    fill(plane, series)
    plane.close(detach=False)
    agent.start(
        AXON_CGROUP=str(cgroup),
        AXON_MAX_SERIES=str(2 * series),
        AXON_MAX_MEMORY="1GiB",
        AXON_IDLE_SECONDS=str(idle_seconds),
    )


def resident(agent: Running) -> float:
    """Return what an agent has in memory by now, in MiB: Rss, what libraries share included."""
    return agent.client.status().resident_bytes / (1 << 20)


def asked(agent: Running) -> float:
    """Ask in every form; return the most that the agent had in memory, in MiB."""
    most = resident(agent)
    for _ in range(2):
        for form in _FORMS:
            assert len(agent.scrape(form)) > 1000
            most = max(most, resident(agent))
        agent.client.snapshot()
        most = max(most, resident(agent))
    return most


def test_hundreds_of_series(quiet: Path, agent: Running, tmp_path: Path) -> None:
    """An agent with hundreds of series has less than 50 MB, whatever it is asked."""
    begin(agent, quiet, tmp_path, 466, 600)
    agent.tick()
    assert asked(agent) < 50


@pytest.mark.timeout(180)
def test_ten_thousand_series_come_and_go(quiet: Path, agent: Running, tmp_path: Path) -> None:
    """Ten thousand series take less than 2 KB each; when they are gone most of that comes back."""
    begin(agent, quiet, tmp_path, _MANY, 20)
    agent.tick()
    assert len(agent.client.snapshot().endpoints) == _MANY
    assert asked(agent) < 72
    until(lambda: agent.client.status().tables[0].used == 2, "the series are gone", seconds=90)
    until(lambda: asked(agent) < 62, "memory is given back", seconds=30)


def test_policies(world: World, quiet: Path, agent: Running, tmp_path: Path) -> None:
    """An agent with ten policies of ten rules each has hardly more."""
    directory = tmp_path / "policies"
    directory.mkdir()
    for i in range(10):
        rules = (f"{{method: GET, path: '/items-{i}/{{id}}/part-{n}'}}" for n in range(10))
        (directory / f"{i}.yaml").write_text(policy(f"policy-{i}", 30_000 + i, *rules))
    agent.command = ("nsenter", f"--net=/run/netns/{world.server.name}", *agent.command)
    agent.start("--policy", str(directory), AXON_CGROUP=str(quiet))
    agent.tick()
    agent.client.snapshot()
    assert resident(agent) < 54


def test_openssl_is_not_loaded(agent: Running, tmp_path: Path) -> None:
    """The agent's process has no library that it does not need, and a single thread."""
    agent.start("--policy", str(tmp_path))
    maps = Path(f"/proc/{agent.pid}/maps").read_text()
    assert "numpy" in maps
    assert "libssl" not in maps
    assert "libcrypto" not in maps
    status = Path(f"/proc/{agent.pid}/status").read_text()
    assert "Threads:\t1\n" in status
