"""Runs in a guest: requests over a cable that the kernel's own netem spoils (tc-netem(8)).

Not every host has that module; the kernels of the matrix have.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.kit.axon import Attacher
from tests.live.kit.books import Books
from tests.live.kit.emulated import share
from tests.live.kit.nginx import nginx
from tests.live.kit.world import World, need
from tests.live.test_order import ask_over

CABLE = "cable1"  # the first of a world
BAD = ("delay", "3ms", "reorder", "93%", "50%", "loss", "1%", "duplicate", "2%")
DAMAGING = (*BAD, "corrupt", "1%")
"""One bit of such a packet is another one."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Give two places that are joined by a cable."""
    subprocess.run([need("modprobe"), "sch_netem"], check=True)
    made = World("n")
    yield made
    made.close()


@pytest.fixture
def books(world: World, tmp_path: Path) -> Iterator[Books]:
    """Give the books of one test."""
    attacher = Attacher(world.name, world.cgroup, tmp_path / "run")
    places = (world.server, world.client)
    mine = Books(attacher(), lambda: sum(place.tcp_counter("RetransSegs") for place in places))
    yield mine
    mine.close()
    attacher.close()


def spoil(world: World, how: tuple[str, ...]) -> None:
    """Have both ends of the cable spoil what they send."""
    for place in (world.server, world.client):
        place.run("tc", "qdisc", "replace", "dev", CABLE, "root", "netem", *how)


def expect_spoilt(world: World) -> None:
    """Check that both ends have lost packets, and that TCP has sent some again."""
    for place in (world.server, world.client):
        said = place.run("tc", "-s", "qdisc", "show", "dev", CABLE)
        dropped = re.search(r"dropped (\d+)", said)
        assert dropped is not None, said
        assert int(dropped[1]), said
        place.run("tc", "qdisc", "del", "dev", CABLE, "root")
    assert world.server.tcp_counter("RetransSegs")


def test_bad_cable(world: World, books: Books, tmp_path: Path) -> None:
    """Requests and responses that are lost, late and doubled are counted exactly, on both sides."""
    with nginx(world, world.server, tmp_path / "nginx", kept=100) as site:
        spoil(world, BAD)
        asked = ask_over(world.server.ip4, world, site)
        expect_spoilt(world)
        books.expect(site.port, asked)
        for row in books.rows(site.port, "GET /file 200"):
            assert row.resp_body == share(300) * 22_000
    books.accept("LOST_TENTATIVE")


def test_damaging_cable(world: World, books: Books, tmp_path: Path) -> None:
    """With damage as well the server's side is exact."""
    with nginx(world, world.server, tmp_path / "nginx", kept=100) as site:
        spoil(world, DAMAGING)
        asked = ask_over(world.server.ip4, world, site)
        expect_spoilt(world)
        assert books.tally(site.port, "server") == asked
    books.accept("LOST_TENTATIVE", "LOST_GAP", "LOST_PIPELINE", "LOST_ORPHAN", "LOST_REORDER")
