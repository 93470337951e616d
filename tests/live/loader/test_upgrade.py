"""A data plane of other sizes or another layout is replaced, and nothing that was counted is lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from axon import kernel
from axon.errors import KernelError, LoadError
from axon.kernel import bpf, carry, links, pins
from axon.kernel.maps import Map
from axon.kernel.pins import Pins, entries, open_maps
from axon.settings import Settings
from tests.live.kit.failing import fail_after

Attach = Callable[..., kernel.Kernel]
Seen = Callable[[kernel.Kernel], int]
Talk = Callable[..., "subprocess.Popen[bytes]"]


def ids(settings: Settings) -> dict[str, int]:
    """Return the kernel's id of each pinned map."""
    return {name: m.info.id for name, m in open_maps(settings.pin_dir / "maps").items()}


def count(attached: kernel.Kernel, series: dict[int, int]) -> None:
    """Have series counted something, as programs would: by their port, so many requests."""
    maps: dict[str, Map] = attached._maps
    for port, requests in series.items():
        slot = maps["ax_free"].pop()
        assert slot is not None
        row = attached.slots(attached.max_series)[int(slot)]
        row["key"]["cgroup"], row["key"]["port"], row["created"] = 7, port, 1000 + port
        ref = np.zeros((), attached.abi.ref)
        ref["slot"], ref["gen"] = slot, row["gen"]
        maps["ax_series"].update(row["key"], ref)
        cells = attached.cells(attached.max_series)[port % attached.shards]
        cells["hist"][int(slot), 20] = requests
        cells["hist"][int(slot), 99] = 1
        cells["dur_sum"][int(slot)] = requests * 1000


def counted(attached: kernel.Kernel) -> dict[int, int]:
    """Return each series' requests by its port; 0 is what was counted under "other"."""
    used = attached.used_slots()
    total = sum(shard["hist"].sum(axis=1) for shard in attached.cells(used))
    ports = attached.slots(used)["key"]["port"]
    return {int(p): int(n) for p, n in zip(ports, np.asarray(total), strict=True) if n}


def hooked(settings: Settings) -> int:
    """Return how many programs are attached to the cgroup, by any kind of hook that it has."""
    assert settings.cgroup is not None
    folder = os.open(settings.cgroup, os.O_RDONLY)
    try:
        return sum(bpf.attached_count(folder, kind) for kind in range(35))
    finally:
        os.close(folder)


def test_same_sizes_keep_every_map(attach: Attach, settings: Settings) -> None:
    """An agent of the same layout and sizes goes on with the same maps."""
    attach().close(detach=False)
    before = ids(settings)
    attach(max_routes=17, roles=("server",)).close(detach=False)
    assert ids(settings) == before


def test_resizing_keeps_connections(attach: Attach, settings: Settings) -> None:
    """Other sizes replace the maps of counts; what is kept for each socket stays."""
    attach().close(detach=False)
    before = ids(settings)
    attach(max_series=2000).close(detach=False)
    changed = {name for name, number in ids(settings).items() if number != before[name]}
    assert changed == {"ax_cells", "ax_series", "ax_slots", "ax_free"}
    assert {path.name for path in entries(settings.pin_dir)} == {"links", "maps", "programs"}


def test_resizing_under_traffic_counts_exactly(attach: Attach, talk: Talk, seen: Seen) -> None:
    """No packet is missed or counted twice while the maps are replaced again and again."""
    attached, traffic = attach(), talk(20_000)
    sizes = [2000, 1000]
    while traffic.poll() is None:
        attached.close(detach=False)
        attached = attach(max_series=sizes[0])
        sizes.reverse()
    assert seen(attached) == 20_000
    flows = attached.abi.enum("ax_stat")["AX_INFO_FLOWS"]
    assert int(attached.stats()[flows]) == 20_000


def test_series_are_carried_over(attach: Attach) -> None:
    """Each series has its count, sums, key and time of creation in the new maps."""
    attached = attach()
    series = {port: port * 3 for port in range(1, 300)}
    count(attached, series)
    attached.close(detach=False)
    attached = attach(max_series=500)
    assert counted(attached) == {port: n + 1 for port, n in series.items()}
    slots = attached.slots(attached.used_slots())[2:]
    assert np.array_equal(slots["created"], 1000 + slots["key"]["port"].astype("u8"))
    assert sum(int(c["dur_sum"].sum()) for c in attached.cells(500)) == 1000 * sum(series.values())


def test_too_small_a_table_sums_up_the_rest(attach: Attach) -> None:
    """Series that find no place any more are counted under "other", so that totals stay right."""
    attached = attach()
    series = dict.fromkeys(range(1, 301), 5)
    count(attached, series)
    attached.close(detach=False)
    after = counted(attach(max_series=100))
    assert len(after) == 99
    assert after.pop(0) == 6 * (300 - 98)
    assert set(after.values()) == {6}


def test_generations_rise(attach: Attach) -> None:
    """No reference that a socket still holds can be taken for one into the new maps."""
    attached = attach()
    attached.slots(1000)["gen"][500] = 77
    attached.close(detach=False)
    assert (attach(max_series=900).slots(900)["gen"] == 78).all()


def test_other_layout(attach: Attach, old_plane: Path, talk: Talk, seen: Seen) -> None:
    """Maps of another layout are read by the names of their fields."""
    attached = attach(old_plane)
    count(attached, {80: 10, 81: 20})
    attached.put_route(12345, "/old/{id}", pattern=False)
    secret = int(attached.ctl["secret"][0])
    assert talk(30).wait() == 0
    attached.close(detach=False)
    attached = attach()
    assert seen(attached) == 30
    assert counted(attached) == {0: 30, 80: 11, 81: 21}
    assert sum(int(c["dur_sum"].sum()) for c in attached.cells(1000)) == 30_000
    assert attached.lookup_routes([12345]) == {12345: "/old/{id}"}
    assert int(attached.ctl["secret"][0]) == secret
    assert int(attached.stats()[attached.abi.enum("ax_stat")["AX_INFO_FLOWS"]]) == 30


def test_back_to_an_older_layout(attach: Attach, old_plane: Path) -> None:
    """Downgrading works too; a shorter histogram keeps its count in its last bucket."""
    attached = attach()
    count(attached, {80: 10})
    attached.cells(3)[0]["hist"][2, 200] = 4
    attached.close(detach=False)
    attached = attach(old_plane)
    assert counted(attached) == {80: 15}
    assert sum(int(c["hist"][2, 99]) for c in attached.cells(3)) == 5


def test_refused_programs_leave_everything(
    attach: Attach, refused_plane: Path, settings: Settings, talk: Talk, seen: Seen
) -> None:
    """When the verifier refuses an upgrade the old programs go on, and its log is kept."""
    attach().close(detach=False)
    before = ids(settings)
    with pytest.raises(LoadError, match="refused the program ax_release") as error:
        attach(refused_plane, max_series=2000)
    assert error.value.path == str(settings.run_dir / "verifier.log")
    kept = (settings.run_dir / "verifier.log").read_text()
    assert "invalid bpf_context access" in kept
    assert "invalid bpf_context access" in str(error.value)
    assert ids(settings) == before
    assert talk(10).wait() == 0
    assert seen(attach()) == 10


def test_refused_first_attach_leaves_nothing(
    attach: Attach, refused_plane: Path, settings: Settings
) -> None:
    """When the very first load fails nothing stays pinned or locked."""
    with pytest.raises(LoadError):
        attach(refused_plane)
    assert not settings.pin_dir.exists()
    attach()


@pytest.mark.parametrize("step", ["link_update", "obj_pin"])
def test_failure_half_way_is_undone(
    attach: Attach, settings: Settings, talk: Talk, *, seen: Seen, step: str
) -> None:
    """When attaching fails in the middle, the hooks that were switched run their old programs."""
    attach().close(detach=False)
    before = ids(settings)
    with pytest.MonkeyPatch.context() as patch:
        fail_after(patch, bpf, step, 4)
        with pytest.raises(KernelError, match="full"):
            attach(max_series=2000)
    assert ids(settings) == before
    assert {path.name for path in entries(settings.pin_dir)} == {"links", "maps", "programs"}
    assert talk(10).wait() == 0
    assert seen(attach()) == 10


@pytest.mark.parametrize(("target", "step", "steps"), [(bpf, "obj_pin", 30), (Path, "mkdir", 5)])
def test_no_room_at_the_first_attach(
    attach: Attach,
    settings: Settings,
    talk: Talk,
    seen: Seen,
    *,
    target: object,
    step: str,
    steps: int,
) -> None:
    """Whichever pin or directory there is no room for, that is said, and nothing of the others stays."""
    failures, attached, said = 0, None, ""
    while attached is None:
        with pytest.MonkeyPatch.context() as patch:
            fail_after(patch, target, step, failures + 1)
            try:
                attached = attach()
            except KernelError as e:
                said = str(e)
        if attached is None:
            failures += 1
            assert "No space left on device. The file system is full" in said
            assert not settings.pin_dir.exists(), failures
            assert hooked(settings) == 0
    assert failures >= steps
    assert hooked(settings) == 8
    assert talk(5).wait() == 0
    assert seen(attached) == 5


@pytest.mark.parametrize("size", [2000, 1500])
def test_death_while_carrying(
    attach: Attach, monkeypatch: pytest.MonkeyPatch, settings: Settings, size: int
) -> None:
    """The next agent finishes a carry that was cut short, whatever its sizes, adding nothing twice."""
    attached = attach()
    series = {port: port for port in range(1, 101)}
    count(attached, series)
    attached.close(detach=False)
    with monkeypatch.context() as patch:
        fail_after(patch, carry.Adder, "add", 40)
        with pytest.raises(KernelError):
            attach(max_series=2000)
    assert (settings.pin_dir / "old").is_dir()
    attached = attach(max_series=size)
    assert counted(attached) == {port: n + 1 for port, n in series.items()}
    assert not (settings.pin_dir / "old").exists()


@pytest.mark.parametrize("when", ["before links", "before renaming", "between renames"])
def test_death_before_renaming(
    attach: Attach, settings: Settings, talk: Talk, *, seen: Seen, when: str
) -> None:
    """An upgrade that died before its maps had their name is finished if its programs run."""
    attach().close(detach=False)
    assert talk(10).wait() == 0

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pins, "remove", die)  # nothing is undone by a process that is gone
        if when == "before links":
            patch.setattr(links, "switch", die)
        elif when == "before renaming":
            patch.setattr(Pins, "advance", die)
        else:
            fail_after(patch, Path, "rename", 2, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            attach(max_series=2000)
    assert (settings.pin_dir / "next").is_dir()
    assert talk(10).wait() == 0
    attached = attach(max_series=2000)
    assert seen(attached) == 20
    assert {path.name for path in entries(settings.pin_dir)} == {"links", "maps", "programs"}
