"""The tables that user space writes and the ring it reads, on the live kernel."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import numpy as np
import pytest

from axon import kernel
from axon.kernel.maps import Map
from tests.live.kit.waiting import readable

Attach = Callable[..., kernel.Kernel]
Talk = Callable[..., "subprocess.Popen[bytes]"]


def numbers(count: int) -> list[int]:
    """Return the flow records that the programs write for so many packets: three out of four."""
    return [n for n in range(count) if n % 4 != 3]


def test_flow_records(attach: Attach, talk: Talk) -> None:
    """Every record is read once, in order, and those that were thrown away are passed over."""
    ring = attach().ring()
    assert talk(100).wait() == 0
    assert ring.read()["number"].tolist() == numbers(100)
    assert len(ring.read()) == 0


def dropped(attached: kernel.Kernel) -> int:
    """Return how many records found the ring full; they have no number."""
    return int(attached.stats()[attached.abi.enum("ax_stat")["AX_DROP_FLOW_RING"]])


def test_ring_wraps(attach: Attach, talk: Talk) -> None:
    """Records are whole where the buffer begins anew, many times over."""
    attached = attach()
    ring, traffic = attached.ring(), talk(12_000)
    found: list[int] = []
    while traffic.poll() is None:
        readable([ring.fd], 0.1)
        flows = ring.read()
        assert (flows["duration"] == 29).all()
        found += flows["number"].tolist()
    found += ring.read()["number"].tolist()
    assert found == numbers(12_000 - dropped(attached))
    assert len(found) > 5_000


def test_full_ring_loses_the_newest(attach: Attach, talk: Talk) -> None:
    """Without a reader the ring keeps the oldest records, and reading makes room again."""
    attached = attach()
    ring = attached.ring()
    assert talk(4000).wait() == 0
    lost = dropped(attached)
    assert lost > 1000
    assert ring.read()["number"].tolist() == numbers(4000 - lost)
    assert talk(4).wait() == 0
    assert len(ring.read()) == 3
    assert dropped(attached) == lost


def test_ring_survives_the_agent(attach: Attach, talk: Talk) -> None:
    """What was not read yet is there for the next agent."""
    attached = attach()
    assert talk(8).wait() == 0
    assert len(attached.ring().read()) == 6
    assert talk(4).wait() == 0
    attached.close(detach=False)
    assert attach().ring().read()["number"].tolist() == [8, 9, 10]


def test_routes(attach: Attach) -> None:
    """Routes can be named, looked up, listed and forgotten; text beyond the bound is cut."""
    attached = attach()
    attached.put_route(10, "/users/{id}", pattern=True)
    attached.put_route(11, "/" + "é" * 300, pattern=False)
    assert attached.lookup_routes([10, 12]) == {10: "/users/{id}"}
    rows = {number: (text, bool(row["pattern"])) for number, text, row in attached.routes()}
    assert rows[10] == (b"/users/{id}", True)
    assert len(rows[11][0]) == 256
    attached.delete_route(10)
    assert attached.lookup_routes([10]) == {}


def test_many_routes_by_batch_and_one_by_one(
    attach: Attach, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table reads the same with batch look-ups and on kernels without them."""
    attached = attach()
    for number in range(2, 2002):
        attached.put_route(number, f"/{number}", pattern=False)
    ids, rows = attached.route_table()
    assert sorted(ids.tolist()) == list(range(2, 2002))

    def no_batch(_self: Map) -> None:
        raise OSError(524, "ENOTSUPP")

    monkeypatch.setattr(Map, "items_by_batch", no_batch)
    slow_ids, slow_rows = attached.route_table()
    by_id = {int(i): bytes(r.tobytes()) for i, r in zip(ids, rows, strict=True)}
    assert {int(i): bytes(r.tobytes()) for i, r in zip(slow_ids, slow_rows, strict=True)} == by_id


def test_route_patterns_replace_their_set(attach: Attach) -> None:
    """Writing a set of patterns replaces what it held and leaves the other set alone."""
    attached = attach()
    words = np.arange(8, dtype="u8")
    rt_set = np.zeros((), attached.abi.rt_set)
    rt_set["words"] = 3
    attached.write_rt(0, {(1, 0): words, (2, 5): words + 1}, rt_set)
    attached.write_rt(1, {(1, 0): words + 2}, rt_set)
    attached.write_rt(0, {(3, 1): words + 3}, rt_set)
    keys, bits = attached._maps["ax_rt_seg"].items()
    found = {
        (int(k["set"]), int(k["hash"]), int(k["depth"])): int(b["word"][0])
        for k, b in zip(keys, bits, strict=True)
    }
    assert found == {(1, 1, 0): 2, (0, 3, 1): 3}
    row = attached._maps["ax_rt_set"].lookup(0)
    assert row is not None
    assert int(row["words"]) == 3


def test_slots_can_be_given_back(attach: Attach) -> None:
    """A series can be deleted, also one that is gone already; slots offered last are taken first."""
    attached = attach()
    maps = attached._maps
    keys = np.zeros(3, attached.abi.key)
    keys["port"] = [1, 2, 3]
    taken = [maps["ax_free"].pop() for _ in range(998)]
    assert maps["ax_free"].pop() is None
    maps["ax_series"].update(keys[0], np.zeros((), attached.abi.ref))
    maps["ax_series"].update(keys[2], np.zeros((), attached.abi.ref))
    attached.delete_series(keys)
    assert len(maps["ax_series"].keys()) == 0
    attached.push_free(np.array([5, 9], "u4"))
    assert [slot and int(slot) for slot in (maps["ax_free"].pop(), maps["ax_free"].pop())] == [9, 5]
    assert len(taken) == 998


def test_control_and_filters_are_written_through(attach: Attach) -> None:
    """What is written to the views is in the maps that the programs read."""
    attached = attach()
    attached.ctl["slow_ns"] = 123
    attached.filters["active"][3] = 1
    ctl, entry = attached._maps["ax_ctl"].lookup(0), attached._maps["ax_filters"].lookup(3)
    assert ctl is not None
    assert entry is not None
    assert int(ctl["slow_ns"]) == 123
    assert int(entry["active"]) == 1
