"""The loader attaches, hands over and removes a data plane of programs that only count packets."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from axon import kernel
from axon.errors import BusyError
from axon.kernel import bpf
from axon.kernel.memory import map_bytes
from axon.kernel.pins import entries, open_maps
from axon.settings import Settings

Attach = Callable[..., kernel.Kernel]
Seen = Callable[[kernel.Kernel], int]
Talk = Callable[..., "subprocess.Popen[bytes]"]

HOOKS = {
    "ax_bind4",
    "ax_bind6",
    "ax_connect4",
    "ax_connect6",
    "ax_egress",
    "ax_ingress",
    "ax_release",
    "ax_sockops",
}


def names(directory: Path) -> set[str]:
    """Return the names in a directory."""
    return {path.name for path in entries(directory)}


def test_first_attach(attach: Attach, settings: Settings) -> None:
    """Every hook is attached by a pinned link, and every map of the contract is pinned."""
    attached = attach()
    assert names(settings.pin_dir / "links") == HOOKS
    assert {"ax_cells", "ax_series", "ax_flows", "ax_conns"} <= names(settings.pin_dir / "maps")
    assert attached.links_alive()
    assert attached.max_series == 1000
    assert int(attached.ctl["secret"][0]) != 0


def test_reserved_slots(attach: Attach) -> None:
    """The two series of "other" exist from the start, and every other slot is free."""
    attached = attach()
    roles = attached.abi.enum("ax_role")
    slots = attached.slots(1000)
    assert list(slots["key"]["role"][:2]) == [roles["AX_ROLE_SERVER"], roles["AX_ROLE_CLIENT"]]
    assert slots["created"][:2].all()
    assert not slots["created"][2:].any()
    assert attached.used_slots() == 2


def test_free_slots_come_lowest_first(attach: Attach, settings: Settings) -> None:
    """Slots are handed out from the lowest, so that few cells need to be mapped."""
    attach()
    free = open_maps(settings.pin_dir / "maps")["ax_free"]
    taken = [free.pop() for _ in range(999)]
    assert [slot and int(slot) for slot in taken] == [*range(2, 1000), None]


def test_counts(attach: Attach, talk: Talk, seen: Seen) -> None:
    """Packets of the cgroup are counted while attached."""
    attached = attach()
    assert talk(100).wait() == 0
    assert seen(attached) == 100
    assert int(attached.stats()[attached.abi.enum("ax_stat")["AX_INFO_FLOWS"]]) == 100


def test_detach_leaves_nothing(attach: Attach, settings: Settings) -> None:
    """After detaching no pin is left, nor the directory."""
    attach().close(detach=True)
    assert not settings.pin_dir.exists()


def test_keeps_counting_without_an_agent(attach: Attach, talk: Talk, seen: Seen) -> None:
    """What arrives between two agents is in the second one's counters."""
    attach().close(detach=False)
    assert talk(50).wait() == 0
    assert seen(attach()) == 50


def test_takeover_has_no_gap(attach: Attach, talk: Talk, seen: Seen) -> None:
    """No packet is missed or counted twice while agents replace one another under traffic."""
    attached, traffic = attach(), talk(20_000, 0.0)
    handovers = 0
    while traffic.poll() is None:
        attached.close(detach=False)
        attached = attach()
        handovers += 1
    assert handovers > 3
    assert seen(attached) == 20_000


def test_killed_agent(
    attach: Attach, plane: Path, settings: Settings, talk: Talk, seen: Seen
) -> None:
    """An agent that is killed leaves the hooks counting, and its successor goes on from there."""
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from axon import kernel; from axon.settings import Settings\n"
        "s = Settings(pin_dir=Path(sys.argv[1]), run_dir=Path(sys.argv[2]), "
        "cgroup=Path(sys.argv[3]), max_series=1000)\n"
        "k = kernel.attach(s, object_path=Path(sys.argv[4]))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    arguments = map(str, (settings.pin_dir, settings.run_dir, settings.cgroup, plane))
    killed = subprocess.run([sys.executable, "-c", program, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert talk(70).wait() == 0
    assert seen(attach()) == 70


def test_second_agent_is_refused(attach: Attach, tmp_path: Path) -> None:
    """A second agent is told which process holds the data plane, whichever directory it shares."""
    attach()
    with pytest.raises(BusyError, match=f"process {os.getpid()}"):
        attach()
    with pytest.raises(BusyError, match=f"process {os.getpid()}"):
        attach(run_dir=tmp_path / "other")


def test_refused_agent_disturbs_nothing(
    attach: Attach, settings: Settings, talk: Talk, seen: Seen
) -> None:
    """The agent that was there first goes on after another was refused."""
    attached = attach()
    with pytest.raises(BusyError):
        attach()
    assert attached.links_alive()
    assert talk(10).wait() == 0
    assert seen(attached) == 10
    assert (settings.run_dir / "axon.lock").read_text() == f"{os.getpid()}\n"


def test_detach_all_waits_for_the_agent(attach: Attach, settings: Settings) -> None:
    """A data plane cannot be pulled from under its agent; without one everything goes."""
    attached = attach()
    with pytest.raises(BusyError):
        kernel.detach_all(settings.pin_dir)
    attached.close(detach=False)
    removed = kernel.detach_all(settings.pin_dir)
    assert f"{settings.pin_dir}/links/ax_ingress" in removed
    assert not settings.pin_dir.exists()
    assert kernel.detach_all(settings.pin_dir) == []


def test_links_alive_notices(attach: Attach, settings: Settings) -> None:
    """A hook that someone else detached is noticed."""
    attached = attach()
    with bpf.obj_get(settings.pin_dir / "links/ax_egress") as link:
        bpf.link_detach(link)
    assert not attached.links_alive()


def test_detached_hook_is_attached_again(attach: Attach, settings: Settings) -> None:
    """The next agent attaches what was detached in the meantime."""
    attach().close(detach=False)
    with bpf.obj_get(settings.pin_dir / "links/ax_egress") as link:
        bpf.link_detach(link)
    assert attach().links_alive()


def test_another_cgroup(attach: Attach, settings: Settings, talk: Talk, seen: Seen) -> None:
    """With another cgroup in the settings the hooks move there, and the counts stay."""
    attached = attach()
    assert talk(5).wait() == 0
    attached.close(detach=False)
    assert settings.cgroup is not None
    other = settings.cgroup.with_name(settings.cgroup.name + "-other")
    other.mkdir()
    try:
        attached = attach(cgroup=other)
        assert talk(5).wait() == 0
        assert seen(attached) == 5
        assert attached.links_alive()
        attached.close(detach=True)
    finally:
        other.rmdir()


def test_run_times(attach: Attach, talk: Talk) -> None:
    """Runs and their time are counted while they are measured."""
    attached = attach()
    attached.measure_runs(on=True)
    assert talk(10).wait() == 0
    attached.measure_runs(on=False)
    stat = attached.program_stats()["ax_ingress"]
    assert stat.run_cnt == 10
    assert stat.run_time_ns > 0
    assert stat.memlock > 0


def test_memory_bound_holds(attach: Attach, settings: Settings) -> None:
    """What is announced is at least what the kernel says each map takes, and hardly more."""
    attached, cpus = attach(), bpf.possible_cpus()
    total = 0
    for name, opened in open_maps(settings.pin_dir / "maps").items():
        info, taken = opened.info, bpf.fd_info(opened.fd)["memlock"]
        bound = map_bytes(info.type, info.key_size, info.value_size, info.max_entries, cpus)
        assert taken <= bound <= taken + 3 * mmap.PAGESIZE, name
        total += taken
    assert total <= attached.bytes_total <= total * 1.02


def test_cells_grow(attach: Attach) -> None:
    """A larger prefix of the cells can be asked for at any time; views from before stay valid."""
    attached = attach()
    few = attached.cells(10)
    many = attached.cells(900)
    assert len(many) == attached.shards
    many[-1]["dur_sum"][7] = 42
    assert int(few[-1]["dur_sum"][7]) == 42
    assert np.shares_memory(few[0], few[0])
    assert len(attached.cells(attached.max_series)[0]) == attached.max_series
