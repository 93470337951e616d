"""What the agent says of its health when the kernel's tables fail it, which a test cannot have them do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from axon.agent.agent import Agent
from axon.errors import KernelError, SettingsError
from axon.settings import Settings


def agent(look: Callable[[], None]) -> Agent:
    """Return an agent that has been attached, and looks in this way."""
    made: Any = Agent(Settings())
    made._pump = SimpleNamespace(read=lambda: None)
    made._ticker = SimpleNamespace(look=look, watch_cgroups=lambda **_: None)
    made._observers = SimpleNamespace(refresh=lambda: None, by_cgroup=False)
    made._kernel = SimpleNamespace(links_alive=lambda: True)
    made._report = SimpleNamespace(tick_seconds=0.0)
    made._policies = None
    return made  # type: ignore[no-any-return]


def test_it_is_neither_ready_nor_well_before_it_has_looked() -> None:
    """Before the programs are attached and were read once both answers are no, and say why."""
    new = Agent(Settings())
    assert not new.ready().ok
    assert not new.health().ok
    assert "not attached yet" in new.health().problem


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (OSError(5, "Input/output error"), "The kernel's tables cannot be read"),
        (KernelError("a map is gone"), "a map is gone"),
        (IndexError("row 7"), "The agent failed at looking (IndexError('row 7'))"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_look_that_fails_is_told_until_one_succeeds(fault: Exception, said: str) -> None:
    """An agent that cannot read its tables is not healthy, goes on looking, and recovers."""
    faults = [None, fault, fault, None]

    def look() -> None:
        if found := faults.pop(0):
            raise found

    one: Any = agent(look)
    healthy = []
    for _ in range(4):
        one._tick()
        healthy.append(one.health().ok)
        if not healthy[-1]:
            assert said in one.health().problem
    assert healthy == [True, False, False, True]
    assert one.ready().ok


def test_an_agent_that_stands_still_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has not looked for some seconds says so, though the last look was good."""
    one: Any = agent(lambda: None)
    one._tick()
    assert one.health().ok
    monkeypatch.setattr("axon.agent.agent.time.monotonic", lambda later=one._looked + 6: later)
    assert "has not looked for some seconds" in one.health().problem
    assert one.ready().ok


def test_what_fails_at_observing_stops_no_policies() -> None:
    """Who starts is known to policies also while the tables of requests cannot be read; both are told."""

    def fails() -> None:
        raise OSError(5, "Input/output error")

    one: Any = agent(fails)
    looks: list[int] = []
    one._policies = SimpleNamespace(
        look=lambda: looks.append(1),
        compiled=None,
        held="",
        fault="",
        points=SimpleNamespace(problem=""),
    )
    one._told_by = lambda _: None
    for _ in range(2):
        one._tick()
    assert len(looks) == 2
    assert "Input/output error" in one.health().problem
    one._ticker.look = lambda: looks.append(2)
    one._policies.look = fails
    one._tick()
    assert looks == [1, 1, 2]
    assert not one.health().ok
    one._policies.look = lambda: None
    one._tick()
    assert one.health().ok
    one._policies.fault = "Policies are not kept up with this host: it is gone"
    assert "it is gone" in one.health().problem


async def test_nothing_that_fails_ends_the_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent goes on looking whatever fails while the ring is pressed, or about a look, and is well again."""
    monkeypatch.setattr("axon.agent.agent._TICK", 0.02)
    monkeypatch.setattr("axon.agent.agent._SOON", 0.001)
    looks: list[int] = []
    faults = [OSError(5, "Input/output error"), IndexError("row 7"), KernelError("a map is gone")]
    one: Any = agent(lambda: looks.append(1))

    def fails() -> None:
        if faults:
            raise faults.pop()

    one._pump = SimpleNamespace(read=fails, pressed=True)
    told = [ValueError("systemd"), OSError(32, "Broken pipe")]

    def notify(_: str) -> None:
        if told:
            raise told.pop()

    monkeypatch.setattr("axon.agent.agent.notify", notify)
    ticking = asyncio.create_task(one._ticking())
    try:
        async with asyncio.timeout(10):
            while told or len(looks) < 6 or not one.health().ok:
                assert not ticking.done(), ticking.exception()
                await asyncio.sleep(0.01)
    finally:
        ticking.cancel()
    assert not faults


async def test_routes_are_read_before_anything_is_attached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that cannot be used, a pipe that nobody writes to for one, is told and leaves no trace."""
    attached: list[object] = []
    monkeypatch.setattr("axon.agent.agent.attach", lambda *_, **__: attached.append(1))
    os.mkfifo(tmp_path / "routes")
    with pytest.raises(SettingsError, match="is not a regular file: set routes to"):
        await Agent(Settings(routes=tmp_path / "routes")).start()
    assert not attached
