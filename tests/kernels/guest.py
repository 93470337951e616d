"""Boots a kernel in QEMU over this machine's own file system and runs one command in it.

The root file system is the host's, handed in by virtiofsd and covered by a tmpfs: whatever the
command writes is gone afterwards, except below the directories that it is told to share. The
command's output comes back through a virtio port, its exit status through a file.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.kernels import ending
from tests.kernels.errors import GuestError, KernelsError
from tests.kernels.image import Image

GUEST_SCRIPT = Path(__file__).with_name("guest.sh")
CARDS_SCRIPT = Path(__file__).with_name("cards.sh")
VIRTIOFSD = (Path("/usr/libexec/virtiofsd"), Path("/usr/lib/qemu/virtiofsd"))


@dataclass(frozen=True, slots=True)
class Setup:
    """How a guest differs from the plainest one."""

    cgroup: str = "v2"  # "v1", "hybrid" or "v2"
    sysctls: Mapping[str, str] = field(default_factory=dict)
    append: str = ""  # more of the kernel's command line
    shares: Sequence[Path] = ()  # directories that are written through to the host
    covered: Sequence[Path] = ()  # directories of the host for a guest that has another root
    cards: int = 0  # network cards, joined to each other and to nothing else
    memory: int = 1024  # MiB
    cpus: int = 2
    accelerator: str = "tcg"
    boots: int = 4  # tries
    boot_seconds: float = 90.0


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a command."""

    status: int
    seconds: float
    boots: int


class _NotBootedError(Exception):
    """The guest ended before the command began."""


def run(
    image: Image,
    command: Sequence[str],
    *,
    setup: Setup,
    environment: Mapping[str, str],
    timeout: float,
    output: Callable[[bytes], object],
    quiet: bool = False,
) -> Result:
    """Runs `command` in a guest, in the caller's working directory, as root.

    A guest that ends before the command has begun is booted again, a few times; from then on
    nothing is repeated. Raises `GuestError` if it never begins, or ends without an exit status, or
    runs for more than `timeout` seconds.
    """
    if os.geteuid() != 0:
        raise KernelsError("virtiofsd needs root to hand the file system to a guest: use sudo")
    for boot in range(1, setup.boots + 1):
        with tempfile.TemporaryDirectory(prefix="axon-guest-") as directory:
            attempt = _Attempt(image, setup, Path(directory))
            try:
                status, seconds = attempt.run(command, environment, timeout, output)
            except _NotBootedError as panic:
                if not quiet:
                    lines = str(panic).splitlines()
                    why = next((line for line in lines if "panic" in line), str(panic))
                    print(f"{image.release}: boot {boot} failed: {why}", file=sys.stderr)
                continue
            return Result(status, seconds, boot)
    raise GuestError(f"{image.release} did not boot in {setup.boots} tries")


def _virtiofsd(socket: Path, root: Path) -> list[str]:
    for program in VIRTIOFSD:
        if program.exists():
            if program.parent.name == "qemu":
                options = ["-o", f"source={root}", "-o", "cache=always", "-o", "sandbox=chroot"]
            else:
                options = [f"--shared-dir={root}", "--cache=always", "--sandbox=chroot"]
            return [str(program), f"--socket-path={socket}", *options]
    raise KernelsError(
        "virtiofsd is missing: apt-get install virtiofsd (Debian 12: qemu-system-common)"
    )


def _trees(image: Image) -> dict[str, Path]:
    """The file systems that are handed in: this machine's, and the guest's root if it is another."""
    host = {"host": Path("/")}
    return host if image.root == Path("/") else host | {"root": image.root}


def emulator(image: Image, setup: Setup, directory: Path) -> list[str]:
    """Return the command line that starts QEMU."""
    # One thread for all of a guest's processors: with one each they wait for locks of whom the host has put aside, and two
    # guests on two processors take a third longer.
    # no_timer_check: the check panics when the emulator is not given time at that very moment.
    # cortex-a72 has no pointer authentication, which is slow to emulate.
    system, machine, cpu, console = {
        "amd64": ("x86_64", "q35", "max", "ttyS0 no_timer_check"),
        "arm64": ("aarch64", "virt", "cortex-a72", "ttyAMA0"),
    }[image.arch]
    program = shutil.which(f"qemu-system-{system}")
    if program is None:
        raise KernelsError(
            f"qemu-system-{system} is missing:"
            f" apt-get install qemu-system-{'x86' if image.arch == 'amd64' else 'arm'}"
        )
    words = f"console={console} panic=-1 quiet loglevel=4 axon_run={directory} {setup.append}"
    options = {
        "machine": machine,
        "accel": "tcg,thread=single" if setup.accelerator == "tcg" else setup.accelerator,
        "cpu": "host" if setup.accelerator == "kvm" else cpu,
        "smp": str(setup.cpus),
        "m": str(setup.memory),
        "object": f"memory-backend-memfd,id=memory,size={setup.memory}M,share=on",
        "numa": "node,memdev=memory",
        "kernel": str(image.kernel),
        "initrd": str(image.initramfs),
        "append": words.strip(),
        "serial": f"file:{directory}/console",
        "monitor": "none",
        "display": "none",
    }
    line = [program, "-nodefaults", "-no-user-config", "-no-reboot"]
    for name, value in options.items():
        line += [f"-{name}", value]
    for tag in _trees(image):
        line += ["-chardev", f"socket,id={tag},path={directory}/{tag}"]
        line += ["-device", f"vhost-user-fs-pci,chardev={tag},tag={tag}"]
    line += ["-chardev", "file,id=output,path=/dev/stdout", "-device", "virtio-serial-pci"]
    line += ["-device", "virtserialport,chardev=output,name=axon.output"]
    for card in range(setup.cards):
        # without vnet_hdr QEMU offers its guest nothing to offload
        tap = f"tap,id=card{card},ifname=card{card},script=no,downscript=no,vnet_hdr=on"
        mac = f"52:54:00:00:00:{card + 1:02x}"
        line += ["-netdev", tap]
        line += ["-device", f"virtio-net-pci,netdev=card{card},mac={mac},romfile="]
    apart = ["unshare", "--net", "sh", str(CARDS_SCRIPT), str(setup.cards)]
    return apart + line if setup.cards else line


class _Attempt:
    """One boot, with its own directory for everything that passes between host and guest."""

    def __init__(self, image: Image, setup: Setup, directory: Path) -> None:
        self._image = image
        self._setup = setup
        self._directory = directory

    def run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        timeout: float,
        output: Callable[[bytes], object],
    ) -> tuple[int, float]:
        """Returns the command's exit status and its seconds; raises `_NotBootedError` or `GuestError`."""
        self._write_scripts(command, environment)
        with ExitStack() as stack:
            log = stack.enter_context((self._directory / "log").open("wb"))

            def start(line: Sequence[str], stdout: IO[bytes] | int) -> subprocess.Popen[bytes]:
                started = subprocess.Popen(
                    line, stdin=subprocess.DEVNULL, stdout=stdout, stderr=log
                )
                stack.enter_context(started)
                stack.callback(started.kill)
                return started

            for tag, root in _trees(self._image).items():
                socket = self._directory / tag
                self._await_socket(socket, start(_virtiofsd(socket, root), log))
            qemu = start(emulator(self._image, self._setup, self._directory), subprocess.PIPE)
            return self._follow(qemu, timeout, output)

    def _write_scripts(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        setup = self._setup
        sysctls = " ".join(f"{name}={value}" for name, value in setup.sysctls.items())
        variables = {
            "RUN": str(self._directory),
            "MODULES": str(self._image.modules),
            "SHARES": " ".join(map(str, setup.shares)),
            "COVERED": " ".join(map(str, setup.covered)),
            "CGROUP": setup.cgroup,
            "SYSCTLS": sysctls,
        }
        head = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
        (self._directory / "guest.sh").write_text(head + GUEST_SCRIPT.read_text())
        exports = "".join(
            f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()
        )
        (self._directory / "command.sh").write_text(
            f"{exports}cd {shlex.quote(str(Path.cwd()))} || exit 126\nexec {shlex.join(command)}\n"
        )

    def _await_socket(self, socket: Path, files: subprocess.Popen[bytes]) -> None:
        for _ in range(100):
            if socket.exists():
                return
            if files.poll() is not None:
                break
            time.sleep(0.05)
        raise GuestError(f"virtiofsd did not start:\n{self._tail('log')}")

    def _follow(
        self, qemu: subprocess.Popen[bytes], timeout: float, output: Callable[[bytes], object]
    ) -> tuple[int, float]:
        assert qemu.stdout is not None
        pipe = qemu.stdout.fileno()

        def copy() -> None:
            while data := os.read(pipe, 65536):
                output(data)

        reader = threading.Thread(target=copy, daemon=True)
        reader.start()
        self._await(qemu, "started", self._setup.boot_seconds, _NotBootedError)
        began = time.monotonic()
        self._await(qemu, "status", timeout, GuestError)
        seconds = time.monotonic() - began
        try:
            qemu.wait(10)
        except subprocess.TimeoutExpired:
            qemu.kill()
        reader.join()
        return int((self._directory / "status").read_text()), seconds

    def _await(
        self, qemu: subprocess.Popen[bytes], file: str, seconds: float, error: type[Exception]
    ) -> None:
        path = self._directory / file
        deadline = time.monotonic() + seconds
        while not path.exists():
            ending.check()
            if qemu.poll() is not None and not path.exists():
                raise error(f"the guest ended before it had written '{file}':\n{self._report()}")
            if time.monotonic() > deadline:
                raise error(f"no '{file}' from the guest in {seconds:.0f} s:\n{self._report()}")
            time.sleep(0.02)

    def _report(self) -> str:
        chatter = ("fv_", "virtio_")  # of virtiofsd
        log = self._tail("log").splitlines(keepends=True)
        return "".join(line for line in log if not line.startswith(chatter)) + self._tail("console")

    def _tail(self, name: str, size: int = 6000) -> str:
        path = self._directory / name
        return path.read_bytes()[-size:].decode(errors="replace") if path.exists() else ""
