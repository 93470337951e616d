"""`axon doctor`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from axon.cli import unseen
from axon.cli.unseen import Unseen
from tests.privileges import NOBODY


def found(root: Path, sockmaps: Collection[str] | None = (), **counters: int) -> dict[str, Unseen]:
    """Return what is found on a laid-out host, by name."""
    return {row.name: row for row in unseen.look(root, counters or None, sockmaps)}


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Return the root of a host on which nothing is out of sight."""
    lay(tmp_path, "proc/net/unix", "Num       RefCount Protocol Flags    Type St Inode Path\n")
    lay(tmp_path, "proc/sys/net/mptcp/enabled", "1\n")
    lay(tmp_path, "proc/net/netstat", "MPTcpExt: MPCapableSYNRX MPCapableSYNTX\nMPTcpExt: 0 0\n")
    lay(tmp_path, "proc/1/comm", "systemd\n")
    lay(tmp_path, "proc/1/cmdline", "/sbin/init\0")
    return tmp_path


def lay(root: Path, name: str, text: str) -> None:
    """Write a file of the host."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_host_with_nothing_out_of_sight(host: Path) -> None:
    """Where nothing is out of sight each row says so."""
    rows = found(host, conn_http1=3)
    assert {row.here for row in rows.values()} == {"absent"}
    assert list(rows) == [
        "UNIX sockets", "sockmap", "SMC", "gVisor", "Kata, other VMs", "Multipath TCP", "TLS", "HTTP/2",
    ]  # fmt: skip


def test_listening_unix_sockets(host: Path) -> None:
    """UNIX sockets that listen for streams are counted; connected and datagram ones are not."""
    lay(
        host,
        "proc/net/unix",
        "Num       RefCount Protocol Flags    Type St Inode Path\n"
        "0000000000000000: 00000002 00000000 00010000 0001 01 77 /run/docker.sock\n"
        "0000000000000000: 00000002 00000000 00010000 0001 01 78 @abstract\n"
        "0000000000000000: 00000003 00000000 00000000 0001 03 79\n"
        "0000000000000000: 00000002 00000000 00000000 0002 01 80 /run/log\n",
    )
    row = found(host)["UNIX sockets"]
    assert (row.here, row.detail.split()[0]) == ("here", "2")


def test_maps_that_redirect_sockets(host: Path) -> None:
    """A process that holds a sockmap is named."""
    lay(host, "proc/1/fdinfo/9", "pos:\t0\nmap_type:\t18\n")
    (host / "proc/1/fd").mkdir()
    (host / "proc/1/fd/9").symlink_to("anon_inode:bpf-map")
    (host / "proc/1/fd/8").symlink_to("/dev/null")
    row = found(host)["sockmap"]
    assert (row.here, "systemd" in row.detail) == ("here", True)
    assert found(host, sockmaps=None)["sockmap"] == row


def test_maps_that_no_process_holds(host: Path) -> None:
    """One that is pinned is named by its name; where the kernel may not be asked it is not said that there is none."""
    row = found(host, sockmaps=["echo", ""])["sockmap"]
    assert (row.here, row.detail.split(", which")[0]) == ("here", "a map without a name, echo")
    assert found(host, sockmaps=None)["sockmap"].here == "unknown"


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/bin/runsc-sandbox", "gVisor"),
        ("/opt/kata/bin/containerd-shim-kata-v2", "Kata, other VMs"),
        ("qemu-system-x86_64", "Kata, other VMs"),
    ],
)
def test_containers_with_a_stack_of_their_own(host: Path, command: str, name: str) -> None:
    """Sandboxes are recognised by their programs."""
    lay(host, "proc/7/cmdline", f"{command}\0--flag\0")
    rows = found(host)
    assert [row.name for row in rows.values() if row.here == "here"] == [name]


def test_other_transports(host: Path) -> None:
    """SMC is there when its module is; Multipath TCP when connections have used it."""
    (host / "sys/module/smc").mkdir(parents=True)
    lay(host, "proc/net/netstat", "MPTcpExt: MPCapableSYNRX MPCapableSYNTX\nMPTcpExt: 4 1\n")
    rows = found(host)
    assert rows["SMC"].here == "here"
    assert (rows["Multipath TCP"].here, rows["Multipath TCP"].detail.split()[0]) == ("here", "5")
    lay(host, "proc/sys/net/mptcp/enabled", "0\n")
    assert found(host)["Multipath TCP"].here == "absent"


def test_what_only_traffic_can_tell(host: Path) -> None:
    """TLS and HTTP/2 are known from a running agent's counters, and unknown without one."""
    assert found(host)["TLS"].here == "unknown"
    assert found(host, conn_tls=12)["TLS"].detail.startswith("12 connections")
    assert found(host, conn_tls=12)["HTTP/2"].here == "absent"


def test_a_host_that_hides_everything(tmp_path: Path) -> None:
    """Where nothing can be read nothing breaks."""
    (tmp_path / "proc").mkdir()
    assert len(found(tmp_path)) == 8


def doctor(*arguments: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the verb."""
    return subprocess.run(
        [*before, sys.executable, "-m", "axon", "doctor", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def nobody() -> tuple[str, ...]:
    """Return what runs a command without privileges."""
    return NOBODY if os.geteuid() == 0 else ()


def test_without_root(nobody: tuple[str, ...]) -> None:
    """Without root Axon cannot run: the report says so first and what it needs; status 1."""
    done = doctor(before=nobody)
    assert done.returncode == 1
    assert done.stdout.startswith("Axon cannot run here.\n")
    assert "needs root" in done.stdout
    assert done.stderr == ""


def test_as_json(nobody: tuple[str, ...]) -> None:
    """Programs get the same rows, and the verdict."""
    said = json.loads(doctor("-o", "json", before=nobody).stdout)
    assert said["ok"] is False
    assert {row["state"] for row in said["features"]} <= {"ok", "degraded", "missing", "untried"}
    assert [row["name"] for row in said["not_seen"]][:2] == ["UNIX sockets", "sockmap"]
    assert said["not_seen"][1]["here"] != "absent"


def test_detaching_without_root(nobody: tuple[str, ...]) -> None:
    """Detaching says that it needs root instead of finding nothing."""
    done = subprocess.run(
        [*nobody, sys.executable, "-m", "axon", "detach"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "needs root" in done.stderr
