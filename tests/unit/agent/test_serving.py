"""The agent's ports, where another program has them."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from axon.agent.serving import Serving
from axon.api.client import Client
from axon.api.server import Server
from axon.errors import ApiError
from axon.settings import Listen, Settings
from tests.unit.api.source import FakeSource


def taken(held: ExitStack) -> Listen:
    """Take a port; return it."""
    sock = held.enter_context(socket.create_server(("127.0.0.1", 0)))
    return Listen("127.0.0.1", sock.getsockname()[1])


def serving(directory: Path, metrics: Listen | None, api: Listen, *, patient: bool) -> Serving:
    """Return what has still to be started."""
    settings = replace(Settings(), run_dir=directory, metrics_listen=metrics, api_listen=api)
    return Serving(Server(FakeSource()), settings, patient=patient)


async def test_taken_ports_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has the agent's ports keeps it from nothing else; that is told, and they are tried again."""
    monkeypatch.setattr("axon.agent.serving._AGAIN", 0.01)
    with ExitStack() as held:
        metrics, api = taken(held), taken(held)
        mine = serving(tmp_path, metrics, api, patient=True)
        await mine.start()
        try:
            assert "metrics_listen" in mine.problem
            assert "api_listen" in mine.problem
            health = await asyncio.to_thread(Client(tmp_path / "axon.sock", timeout=5).health)
            assert health.ok
            held.close()
            for _ in range(1000):
                if not mine.problem:
                    break
                await asyncio.sleep(0.01)
            assert mine.ports == {"metrics": metrics.port, "api": api.port}
        finally:
            await mine.close()


async def test_without_patience(tmp_path: Path) -> None:
    """An agent that looks after nothing does not start, and says which port is taken."""
    with ExitStack() as held:
        mine = serving(tmp_path, None, taken(held), patient=False)
        try:
            with pytest.raises(ApiError, match="api_listen"):
                await mine.start()
        finally:
            await mine.close()
