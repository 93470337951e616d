"""A network namespace at the end of a pair of veths, which stands for another host."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.world import requests_of


class Cable(NamedTuple):
    """An interface, and how to be at its other end; loopback is one whose other end is here."""

    name: str
    address: str
    other: str  # the address of the other end
    space: str  # "" for loopback

    @property
    def ifindex(self) -> int:
        """The number of the host's end."""
        return socket.if_nametoindex(self.name)

    def there(self, command: Sequence[str]) -> list[str]:
        """Return a command as it is run at the other end."""
        return ["ip", "netns", "exec", self.space, *command] if self.space else list(command)

    def served(self, port: int) -> int:
        """Return how many requests an nginx has read, this one included, asked from the other end."""
        command = self.there(["curl", "-sS", "-m10", f"http://{self.address}:{port}/count"])
        return requests_of(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
        )


LOOPBACK = Cable("lo", "127.0.0.1", "127.0.0.1", "")


@contextmanager
def cable(*, here: int | None = None, there: int | None = None) -> Iterator[Cable]:
    """Make the namespace and the cable.

    What arrives is worked on by the core that sent it, as ever with veth; or by the CPUs `here` and
    `there`, as with two hosts that have one each.
    """
    pid = os.getpid()
    end = Cable(f"axb{pid}", "10.203.7.1", "10.203.7.2", f"axon-bench-{pid}")
    commands = (
        f"netns add {end.space}",
        f"link add {end.name} type veth peer name axbench netns {end.space}",
        f"addr add {end.address}/30 dev {end.name}",
        f"link set {end.name} up",
        f"-n {end.space} addr add {end.other}/30 dev axbench",
        f"-n {end.space} link set axbench up",
        f"-n {end.space} link set lo up",
    )
    try:
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True)
        if here is not None:
            _steer(end.name, here)
        if there is not None:
            subprocess.run(
                end.there(["sh", "-c", f"echo {1 << there:x} > {_queue('axbench')}"]), check=True
            )
        yield end
    finally:
        subprocess.run(["ip", "netns", "del", end.space], check=False)


def _queue(name: str) -> Path:
    return Path(f"/sys/class/net/{name}/queues/rx-0/rps_cpus")


def _steer(name: str, cpu: int) -> None:
    """Have a CPU work on what arrives at an interface (receive packet steering)."""
    _queue(name).write_text(f"{1 << cpu:x}", encoding="ascii")
