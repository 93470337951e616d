"""The agent's small parts: systemd's protocol, the file of carries, what the process costs."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest

from axon.agent import process
from axon.agent.carries import Carries
from axon.agent.systemd import notify
from axon.export import state
from axon.export.exporter import Exporter
from axon.export.labels import Labels


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is an assignment in one datagram; abstract sockets and absent ones will do too."""
    for address in (str(tmp_path / "notify"), f"\0axon-test-{os.getpid()}"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(address)
            monkeypatch.setenv("NOTIFY_SOCKET", address.replace("\0", "@"))
            notify("READY=1", "STATUS=well")
            assert manager.recv(100) == b"READY=1\nSTATUS=well"
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "nonsense")
    notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")


class Changed(Exporter):
    """An exporter whose carries are given."""

    def __init__(self, carries: state.Carries) -> None:
        super().__init__()
        self._given = carries

    def take_changed(self) -> bool:
        """Say that there is something to write."""
        return True

    @property
    def carries(self) -> state.Carries:  # type: ignore[override]
        """Return what was given."""
        return self._given


CARRIES: state.Carries = {"as_server": {Labels(("a",), ("b",)): np.ones(248, np.uint64)}}


def test_carries_are_kept_and_restored(tmp_path: Path) -> None:
    """What one process keeps the next one finds, if the maps are the same."""
    keeper = Carries(tmp_path, 7)
    keeper.keep(Changed(CARRIES))
    assert keeper.problem is None
    loaded = state.load(tmp_path / state.FILE, state.maps_name(7))
    assert list(loaded["as_server"]) == list(CARRIES["as_server"])
    assert state.load(tmp_path / state.FILE, state.maps_name(8)) == {}


def test_a_damaged_file_is_a_problem_and_not_the_end(tmp_path: Path) -> None:
    """The agent starts without it and says so; the next write mends it."""
    (tmp_path / state.FILE).write_text("{")
    carries = Carries(tmp_path, 7)
    carries.restore(Exporter())
    assert "is damaged" in (carries.problem or "")
    carries.keep(Changed(CARRIES))
    assert carries.problem is None


def test_a_directory_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    """The problem says what to do."""
    carries = Carries(tmp_path / "absent", 7)
    carries.keep(Changed(CARRIES))
    assert "set run_dir to another" in (carries.problem or "")


def test_the_process_is_measured() -> None:
    """Memory and CPU time are of this process, and giving memory back does no harm."""
    process.keep_memory_small()
    process.settle()
    assert 5e6 < process.resident_bytes() < 5e9
    assert 0 < process.cpu_seconds() < 1e5
