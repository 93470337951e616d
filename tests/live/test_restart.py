"""The agent comes and goes under load; the programs stay, and so do the counts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from axon.api.client import Client
from axon.errors import ApiError
from axon.settings import Settings
from tests.live.kit.axon import ROLES, Attacher, Axon
from tests.live.kit.books import wait_for
from tests.live.kit.nginx import nginx
from tests.live.kit.world import World


def run_agent(settings: Settings, log: Path) -> subprocess.Popen[bytes]:
    """Start an agent that leaves its programs attached; return when it serves."""
    environment = {
        "PATH": os.environ["PATH"],
        "AXON_PIN_DIR": str(settings.pin_dir),
        "AXON_RUN_DIR": str(settings.run_dir),
        "AXON_CGROUP": str(settings.cgroup),
        "AXON_METRICS_LISTEN": "off",
    }
    command = [sys.executable, "-m", "axon", "run", "--no-table", "--keep"]
    with log.open("ab") as file:
        agent = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    client = Client(settings.socket, timeout=5)

    def serves() -> bool:
        try:
            return client.health().ok
        except ApiError:
            return False

    if not wait_for(serves, bool, 30):
        agent.kill()
        pytest.fail(log.read_text())
    return agent


def test_killed_under_load(world: World, attach_live: Attacher, tmp_path: Path) -> None:
    """An agent that is killed again and again under load misses no request."""
    settings = attach_live.settings(keep=True)
    agent = run_agent(settings, tmp_path / "log")
    asked = kills = 0
    with nginx(world, world.server, tmp_path / "nginx", kept=1000) as site:
        while kills < 3:
            asked += 100_000
            load = world.client.start(
                "h2load", "--h1", "-n", "100000", "-c", "50", "-t", "1", site.url("/small")
            )
            while load.poll() is None:
                time.sleep(0.3)
                agent.kill()
                assert agent.wait(5) == -signal.SIGKILL
                kills += 1
                agent = run_agent(settings, tmp_path / "log")
            world.client.end(load)
            assert load.returncode == 0
        agent.kill()
        agent.wait(5)
        assert site.requests() == asked
        successor = Axon(settings)
        assert {r: successor.total(r, site.port) for r in ROLES} == dict.fromkeys(ROLES, asked)
        assert {k for k, n in successor.stats().items() if k.startswith("LOST_") and n} == set()
        successor.close()
