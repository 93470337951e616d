"""A host made of files: a cgroup tree, a /proc and the folders of container runtimes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from axon.identity import Identity

ID = "3f2a9c01d2e4" + "ab" * 26
POD = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
MAPPED = bytes(10) + b"\xff\xff"


def v4(text: str) -> bytes:
    """Return an IPv4 address as the kernel's keys have it."""
    return MAPPED + bytes(map(int, text.split(".")))


class Host:
    """Writes what the kernel and the runtimes would; time goes when it is told to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cgroups = root / "cgroup"
        self.proc = root / "proc"
        self.now = 1000 * 10**9
        for folder in (self.cgroups, self.proc / "self" / "ns"):
            folder.mkdir(parents=True)
        (self.proc / "self/ns/net").touch()

    def identity(self) -> Identity:
        """Return who knows this host."""
        return Identity(self.cgroups, proc=self.proc, root=self.root, clock=lambda: self.now)

    def cgroup(self, path: str) -> int:
        """Make a cgroup; return its id."""
        folder = self.cgroups / path.strip("/")
        folder.mkdir(parents=True, exist_ok=True)
        return folder.stat().st_ino

    def process(
        self,
        pid: int,
        name: str,
        cgroup: str = "/",
        *,
        sockets: tuple[int, ...] = (),
        netns: str = "host",
    ) -> None:
        """Make a process that holds sockets by inode, in a network namespace by name."""
        folder = self.proc / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "ns").mkdir()
        (folder / "comm").write_text(name + "\n")
        (folder / "cgroup").write_text(f"4:memory:/old\n0::{cgroup}\n")
        (folder / "exe").symlink_to(f"/usr/bin/{name.lower()}-exe")
        for number, inode in enumerate(sockets):
            (folder / "fd" / str(number)).symlink_to(f"socket:[{inode}]")
        (folder / "fd" / "9").symlink_to("/dev/null")
        space = self.root / "netns" / netns
        space.mkdir(parents=True, exist_ok=True)
        (space / "ns").touch()
        (folder / "ns" / "net").symlink_to(space / "ns")
        (folder / "net").symlink_to(space)

    def network(
        self, netns: str, *, listeners: dict[int, tuple[str, int]], addresses: tuple[str, ...] = ()
    ) -> None:
        """Write a namespace's listeners, {inode: (address, port)}, and its IPv4 addresses."""
        space = self.root / "netns" / netns
        space.mkdir(parents=True, exist_ok=True)
        lines = ["  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt"]
        for number, (inode, (address, port)) in enumerate(listeners.items()):
            local = bytes(map(int, address.split(".")))[::-1].hex().upper()
            lines.append(
                f"{number:4}: {local}:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 "
                f"00000000     0        0 {inode} 1 0000000000000000 100 0 0 10 0"
            )
        lines.append(
            "   9: 0100007F:1F90 0100007F:ABCD 01 00000000:00000000 00:00000000 00000000 0 0 77 1"
        )
        (space / "tcp").write_text("\n".join(lines) + "\n")
        trie = "".join(
            f"        |-- {address}\n           /32 host LOCAL\n"
            for address in ("127.0.0.1", *addresses)
        )
        (space / "fib_trie").write_text(f"Main:\n  +-- 0.0.0.0/0 3 0 5\n{trie}Local:\n{trie}")

    def write(self, path: str, content: Any) -> None:
        """Write a JSON file."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))
