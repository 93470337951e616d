"""The kernel matrix's own logic: its table, its archive format, its judgement of results."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kernels import guest, matrix, page, results, table
from tests.kernels.calls import Graph
from tests.kernels.cpio import Cpio
from tests.kernels.errors import KernelsError
from tests.kernels.image import Image
from tests.kernels.results import Group, Guest
from tests.live.kit.emulated import PATHS

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
        measured = ("`ax_", "program", page.EACH)
        return [[row[0], row[-1]] for row in rows if not row[0].startswith(measured)]

    assert words(page.page(guests, chosen)) == words(written)


def measured() -> list[Guest]:
    """Return what came of two kernels, and of one of them in a configuration."""
    old, new = Guest("5.10", "5.10.0-46", ""), Guest("6.1-arm64", "6.1.0-56", "")
    policies = Guest("5.10", "5.10.0-46", "policies")
    old.groups = {"works": Group(2, 0, 25.4), "loader": Group(11, 1, 61.0)}
    new.groups = {"works": Group(2, 0, 40.0)}
    policies.groups = {"denials": Group(120, 0, 200.6), "policy": Group(262, 3, 137.0)}
    old.seconds, new.seconds, policies.seconds = 522.4, 366.0, 337.6
    old.verified, new.verified = {"ax_gate": 490786, "ax_bind4": 72}, {"ax_gate": 490787}
    old.ns_per_run, new.ns_per_run = {"ax_ingress": 21097.3}, {"ax_ingress": 24305.0}
    old.ns_per_request = 123456.7
    return [old, policies, new]


def cells(text: str, first: str) -> list[str]:
    """Return a line of a table of the page, by its first cell."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return line.strip("| ").split(" | ")


def test_what_the_page_tells() -> None:
    """Of each kernel and group what passed, failed and how long it took; of each program and of a request
    what the verifier walks and the time.
    """
    said = page.page(measured(), table.read())
    assert cells(said, "kernel")[2:] == [
        "works", "loader", "passed", "failed", "seconds", "why it is here",
    ]  # fmt: skip
    assert cells(said, "5.10")[1:-1] == [
        "5.10.0-46", "2/0, 25 s", "11/1, 61 s", "13", "1", "522",
    ]  # fmt: skip
    assert cells(said, "6.1-arm64")[2:-1] == ["2/0, 40 s", "-", "2", "0", "366"]
    assert cells(said, "policies")[1:-1] == [
        "5.10", "denials: 120/0, 201 s; policy: 262/3, 137 s", "382", "3", "338",
    ]  # fmt: skip
    assert cells(said, "`ax_gate`") == ["`ax_gate`", "490,786", "490,787"]
    assert cells(said, "`ax_bind4`") == ["`ax_bind4`", "72", "-"]
    assert cells(said, "`ax_ingress`") == ["`ax_ingress`", "21,097", "24,305"]
    assert cells(said, "each request") == ["each request", "123,457", "-"]


def test_what_is_printed() -> None:
    """The terminal has the same, a line for each kernel and group, and what has failed at the end."""
    guests = measured()
    guests[0].fail("a test", "its message")
    lines = [line.split() for line in page.text(guests).splitlines()]
    assert ["5.10", "works", "2", "0", "25"] in lines
    assert ["loader", "11", "1", "61"] in lines
    assert ["5.10,", "policies", "denials", "120", "0", "201"] in lines
    assert ["ax_gate", "490,786", "490,787"] in lines
    assert ["ax_ingress", "21,097", "24,305"] in lines
    assert ["each", "request", "123,457", "-"] in lines
    assert lines[-2:] == [["5.10:", "a", "test"], ["its", "message"]]


def test_what_junit_has() -> None:
    """A suite has as properties what no test of it says."""
    root = ET.fromstring(results.junit(measured()))
    (suite,) = (one for one in root if one.get("name") == "5.10")
    told = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert told["tests.loader"] == "11 passed, 1 failed, 61.0 s"
    assert told["verified.ax_gate"] == "490786"
    assert told["ns_per_run.ax_ingress"] == "21097"
    assert told["ns_per_request"] == "123457"


def test_the_page_names_other_user_spaces() -> None:
    """A guest of another architecture has another user space than this machine's, and the page says so."""
    said = page.page([], table.read()).partition("| kernel |")[0]
    for row in table.read().rows:
        assert (f"{row.name}, of another architecture" in said) == bool(row.userspace)


def test_every_file_of_live_tests_has_its_place() -> None:
    """A guest runs it, or the table says why none does, and so does the page; never both."""
    root = Path(__file__).parents[2]
    chosen = table.read()
    live = {str(path.relative_to(root)) for path in root.glob("tests/live/**/test_*.py")}
    run = {path for paths in chosen.tests.values() for path in paths}
    apart = [file for one in chosen.apart for file in one.files]
    assert len(apart) == len(set(apart))
    assert set(apart) == live - run
    section = page.page([], chosen).partition("## On this machine only")[2].partition("\n## ")[0]
    assert [file for file in apart if f"`{file}`" not in section] == []
    assert [one.reason for one in chosen.apart if one.reason not in section] == []


def test_ways_of_a_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of policies take a kernel's own ways, or the table's, in each configuration; the page says which."""
    chosen = table.read()
    assert set(chosen.ways).union(*(row.ways for row in chosen.rows)) <= PATHS.keys()
    rows = [
        table.Row(name="old", reason="", ways=["::1", "cable4"]),
        table.Row(name="mid", reason=""),
        table.Row(name="new", reason=""),
    ]
    both = table.Configuration(name="both", reason="", kernels=["old", "new"], tests=["core"])
    chosen = replace(chosen, rows=rows, configurations=[both], ways=["127.0.0.1"])
    said = page.page([], chosen)
    assert "cable6): ::1 and cable4 on old; 127.0.0.1 on mid, new." in said
    given: dict[str, str] = {}

    def run_guest(*_: object, environment: dict[str, str], **__: object) -> None:
        given[job.title] = environment["AXON_WAYS"]

    monkeypatch.setattr(matrix, "run_guest", run_guest)
    monkeypatch.setattr("tests.kernels.accelerator.choose", lambda _: "tcg")
    image = Image("0", "amd64", tmp_path / "k", tmp_path / "m", tmp_path / "i", Path("/"))
    for job in matrix.jobs(chosen, rows, tmp_path / "out"):
        matrix.do(job, image, chosen, tmp_path / "out")
    assert given == {
        "old": "::1 cable4",
        "old, both": "::1 cable4",
        "mid": "127.0.0.1",
        "new": "127.0.0.1",
        "new, both": "127.0.0.1",
    }


def test_seconds_of_a_written_page() -> None:
    """What a page says of its guests' time is read from it again, and from the one that is there."""
    assert page.seconds(page.page(measured(), table.read())) == {
        "5.10": 522,
        "5.10, policies": 338,
        "6.1-arm64": 366,
    }
    chosen = table.read()
    known = page.seconds(matrix.PAGE.read_text(encoding="utf-8"))
    assert known.keys() == {job.title for job in matrix.jobs(chosen, chosen.rows, Path("/out"))}
    assert min(known.values()) > 0


def test_the_longest_begin_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the seconds of the last page; a guest that it does not know by its files of tests."""
    chosen = table.read()
    rows = chosen.choose(["5.10", "6.1-arm64"])
    own = table.Row(name="mine", reason="", tests=["core"])
    jobs = [
        job
        for job in matrix.jobs(chosen, [*rows, own], tmp_path)
        if job.configuration in {"", "policies"}
    ]
    written = tmp_path / "kernels.md"
    written.write_text(page.page(measured(), chosen))
    monkeypatch.setattr(matrix, "PAGE", written)
    begun: list[str] = []

    def do(job: matrix.Job, *_: object) -> Guest:
        begun.append(job.title)
        return Guest(job.row.name, "", job.configuration)

    monkeypatch.setattr(matrix, "do", do)
    image = Image("0", "amd64", tmp_path / "k", tmp_path / "m", tmp_path / "i", Path("/"))
    images = dict.fromkeys(("5.10", "6.1-arm64", "mine"), image)
    done = [guest.title for guest in matrix.do_all(jobs, images, chosen, 1)]
    assert begun == ["5.10", "6.1-arm64", "5.10, policies", "mine"]
    assert done == [job.title for job in jobs]
    assert matrix.expected(chosen, tmp_path / "none")(jobs[-1]) == 4 * matrix.FILE_SECONDS
