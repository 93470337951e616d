"""The kernel matrix's own logic: its table, its archive format, its judgement of results."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.kernels import guest, matrix, page, results, table
from tests.kernels.calls import Graph
from tests.kernels.cpio import Cpio
from tests.kernels.errors import KernelsError
from tests.kernels.image import Image
from tests.kernels.results import Guest

JUNIT = """<testsuites><testsuite name="pytest">
<testcase classname="tests.live.test_framing" name="test_a" time="1.5"/>
<testcase classname="tests.live.test_framing.TestB" name="test_b" time="0.5"><failure message="no"/></testcase>
<testcase classname="tests.live.test_order" name="test_c" time="0"><skipped message="off" type="pytest.skip"/></testcase>
</testsuite></testsuites>"""


def test_table_is_consistent() -> None:
    """Every kernel, group of tests and file that the table names exists."""
    read = table.read()
    names = {row.name for row in read.rows}
    assert len(names) == len(read.rows)
    for kernels in [*(c.kernels for c in read.configurations), *(u.kernels for u in read.unfit)]:
        assert set(kernels) <= names
    for tests in [*(row.tests for row in read.rows), *(c.tests for c in read.configurations)]:
        assert set(tests) <= read.tests.keys()
    root = Path(__file__).parents[2]
    paths = [path for paths in read.tests.values() for path in paths]
    paths += [unfit.test.partition("::")[0] for unfit in read.unfit]
    assert [path for path in paths if not (root / path).exists()] == []


def test_unknown_kernel() -> None:
    """A kernel that is not in the table is refused with the names of those that are."""
    with pytest.raises(KernelsError, match=r"no kernel 2\.6 in the table; there are 5\.10"):
        table.read().choose(["2.6"])


def test_own_kernel(tmp_path: Path) -> None:
    """A table of one's own has a row for a local kernel and the groups of tests of ours."""
    mine = tmp_path / "mine.toml"
    mine.write_text('[[kernel]]\nname = "mine"\nreason = "own"\nimage = "bzImage"\nmodules = "m"\n')
    assert [row.image for row in table.read(mine).rows] == ["bzImage"]
    assert "core" in table.read(mine).tests
    mine.write_text('[[kernel]]\nname = "mine"\nspeed = 3\n')
    with pytest.raises(KernelsError, match="describes the fields"):
        table.read(mine)


def test_only_a_configuration_has_cards(tmp_path: Path) -> None:
    """A guest has network cards where a configuration asks for them, and is as it was elsewhere."""
    chosen = table.read()
    jobs = list(matrix.jobs(chosen, chosen.choose(["5.10", "newest"]), tmp_path))
    with_cards = [(job.row.name, job.configuration) for job in jobs if job.setup.cards]
    assert with_cards == [("5.10", "devices"), ("newest", "devices")]
    assert {job.setup.cards for job in jobs} == {0, 2}


def test_cards_of_a_guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards are taps of a network namespace that ends with the guest, each with its own address."""
    program = tmp_path / "qemu-system-x86_64"
    program.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    image = Image("5.10.0", "amd64", tmp_path / "k", tmp_path / "m", tmp_path / "i", Path("/"))
    plain = guest.emulator(image, guest.Setup(), tmp_path)
    assert plain[0] == str(program)
    assert "-netdev" not in plain
    line = guest.emulator(image, guest.Setup(cards=2), tmp_path)
    assert line[:5] == ["unshare", "--net", "sh", str(guest.CARDS_SCRIPT), "2"]
    assert line[5 : 5 + len(plain)] == plain
    more = line[5 + len(plain) :]
    assert more[::2] == ["-netdev", "-device"] * 2
    assert [word.split(",")[2] for word in more[1::4]] == ["ifname=card0", "ifname=card1"]
    assert len({word.split(",")[2] for word in more[3::4]}) == 2


def test_initramfs_is_a_cpio_archive(tmp_path: Path) -> None:
    """What is packed is what the ordinary tool unpacks."""
    archive = Cpio()
    archive.directory("bin")
    archive.file("bin/sh", b"#!", 0o755)
    archive.file("empty", b"")
    busybox = ["busybox", "cpio", "-i", "-d"]
    subprocess.run(busybox, input=bytes(archive), cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "bin/sh").read_bytes() == b"#!"
    assert (tmp_path / "bin/sh").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "empty").read_bytes() == b""


def test_results_of_a_guest(tmp_path: Path) -> None:
    """A skipped test counts as failed."""
    (tmp_path / "junit.xml").write_text(JUNIT)
    guest = Guest("5.10", "5.10.0", "")
    tests = {"core": ["tests/live/test_framing.py"], "network": ["tests/live/test_order.py"]}
    results.collect(guest, tmp_path, tests)
    core, network = guest.groups["core"], guest.groups["network"]
    assert (core.passed, core.failed, core.seconds) == (1, 1, 2.0)
    assert (network.passed, network.failed) == (0, 1)
    assert [test for test, _ in guest.failures] == [
        "tests.live.test_framing.TestB.test_b",
        "tests.live.test_order.test_c",
    ]
    suite = ET.fromstring(results.junit([guest])).find("testsuite")
    assert suite is not None
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("5.10", "3", "2")


def test_guest_that_died(tmp_path: Path) -> None:
    """A guest without results has failed."""
    guest = Guest("5.10", "5.10.0", "hardened JIT")
    results.collect(guest, tmp_path, {})
    assert len(guest.failures) == 1
    assert "5.10, hardened JIT" in page.text([guest])


def test_growth_of_programs(tmp_path: Path) -> None:
    """Ten per cent more instructions than the baseline's are allowed, no more; new programs are."""
    (tmp_path / "junit.xml").write_text("<testsuites/>")
    counts = {"same": 100, "more": 110, "much": 111, "new": 900_000}
    rows = [{"program": name, "verified": count} for name, count in counts.items()]
    (tmp_path / "verify.json").write_text(json.dumps(rows))
    guest = Guest("5.10", "5.10.0", "")
    results.collect(guest, tmp_path, {})
    results.compare(guest, {"same": 100, "more": 100, "much": 100, "gone": 5})
    assert [test for test, _ in guest.failures] == ["baseline[much]"]


def test_deepest_chain_of_calls() -> None:
    """Frames are rounded up to 32 bytes; the longest chain need not be the one that takes most."""

    def call(offset: int) -> bytes:
        return bytes([0x85, 0x10, 0, 0]) + offset.to_bytes(4, "little", signed=True)

    end = bytes([0x95]) + bytes(7)
    # main at 0 calls 3 and 5; 3 calls 6; 5 and 6 are leaves
    code = call(2) + call(3) + end + call(2) + end + end + end
    graph = Graph(code, ["long", "deep", "leaf"])
    assert graph.insns == 7
    assert graph.deepest([8, 33, 200, 1]) == (["main 8", "deep 200"], 256, 3)
    assert graph.deepest([8]) == ([], 0, 0)


def test_the_page_is_of_this_table() -> None:
    """docs/kernels.md has the table's kernels, configurations and what is left out; `make kernels` writes it."""
    written = matrix.PAGE.read_text(encoding="utf-8")
    chosen = table.read()
    guests = [Guest(row.name, "", "") for row in chosen.rows]
    guests += [
        Guest(kernel, "", configuration.name)
        for configuration in chosen.configurations
        for kernel in configuration.kernels
    ]

    def words(text: str) -> list[list[str]]:
        """Return the first and the last cell of each line of a table: what no machine has said."""
        rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line[:1] == "|"]
        return [[row[0], row[-1]] for row in rows if not row[0].startswith(("`ax_", "program"))]

    assert words(page.page(guests, chosen)) == words(written)
