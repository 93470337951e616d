"""A machine of the tests' own, made of namespaces, whose first process is systemd.

It has its own processes, network, mounts, /run, /etc and BPF file system, and a cgroup of the host's for the root
of its tree. Of the host's units it has the few targets that every unit stands behind, and no generator, so
that nothing is started but what a test gives.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from axon.kernel.system import cgroup_root
from tests.live.kit.waiting import until
from tests.live.kit.world import PREFIX, need

ROOT = Path(__file__).parents[3]
_TARGETS = ("basic", "sysinit", "shutdown", "umount", "network", "multi-user")
_HOST = Path("/lib/systemd/system")
_FROM_ETC = ("passwd", "group", "nsswitch.conf", "ld.so.cache", "ld.so.conf", "alternatives")
_AXON = '#!/bin/sh\nPYTHONPATH=/opt/axon exec /opt/axon/venv/bin/python -m axon "$@"\n'

# It may set nothing for the whole host: /proc/sys and the root are read-only to it.
_BOOT = """
echo $$ > "$1/cgroup.procs"
exec setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child --net --uts --ipc --cgroup \
    sh -ec '
here=$1 python=$2 source=$3
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf -o mode=0700 bpf /sys/fs/bpf
mount -t tmpfs -o mode=0755 tmpfs /opt
mkdir -p /opt/axon/venv /opt/axon/axon
mount --bind "$python" /opt/axon/venv
mount --bind "$source" /opt/axon/axon
mount --bind "$here/units" /lib/systemd/system
mount --bind "$here/nothing" /lib/systemd/system-generators
mount --bind "$here/bin" /usr/local/bin
mount --bind "$here/etc" /etc
mount --bind /dev/null /dev/console
mount --bind /dev/null /dev/kmsg
mount -o remount,bind,ro /
for each in /run /tmp /var/tmp; do mount -t tmpfs -o mode=1777 tmpfs $each; done
chmod 755 /run
exec env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin container=axon \
    /lib/systemd/systemd --system --unit=test.target --log-target=null
' sh "$2" "$3" "$4"
"""


class Machine:
    """A running one. `units` are the texts of its own units by name, `programs` those of scripts beside axon."""

    def __init__(
        self, scratch: Path, units: Mapping[str, str], programs: Mapping[str, str]
    ) -> None:
        self.cgroup = cgroup_root() / f"{PREFIX}{os.getpid()}-machine"
        self._prepare(scratch, units, programs)
        self.cgroup.mkdir()
        command = ("sh", "-ec", _BOOT, "sh", self.cgroup, scratch, sys.prefix, ROOT / "src/axon")
        self._log = scratch / "boot.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            until(self._serves, "systemd answers")
        except BaseException:
            self.close()
            raise

    @property
    def root(self) -> Path:
        """Its files, as the host sees them."""
        return Path("/proc", self._first(), "root")

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in it, outside of its cgroups; return what it printed."""
        done = subprocess.run(
            [*self.entering(), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def entering(self) -> tuple[str, ...]:
        """Return the beginning of a command that is to run in it."""
        spaces = ("--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup")
        return (need("nsenter"), "--target", self._first(), *spaces, "--")

    def systemctl(self, *arguments: str) -> str:
        """Tell systemd."""
        return self.run("systemctl", "--no-pager", *arguments)

    def shown(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.systemctl("show", "--value", "--property", name, unit).strip()

    def close(self) -> None:
        """End everything in it and remove it."""
        self._process.kill()
        self._process.wait(20)
        deadline = time.monotonic() + 20
        while self.cgroup.exists():
            folders = [Path(folder) for folder, _, _ in os.walk(self.cgroup, topdown=False)]
            for folder in folders:
                for pid in (folder / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
            try:
                for folder in folders:
                    folder.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def _first(self) -> str:
        """Return its first process, by the host's number."""
        pid = self._process.pid
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert found, self._log.read_text()
        return found[0]

    def _serves(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        pid = self._process.pid
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return bool(below) and Path("/proc", below[0], "root/run/systemd/private").exists()

    @staticmethod
    def _prepare(scratch: Path, units: Mapping[str, str], programs: Mapping[str, str]) -> None:
        for name in ("units", "bin", "etc", "nothing"):
            (scratch / name).mkdir(parents=True)
        for name in _TARGETS:
            shutil.copy(_HOST / f"{name}.target", scratch / "units")
        (scratch / "units/test.target").write_text("[Unit]\nDefaultDependencies=no\n")
        for name in _FROM_ETC:
            source = Path("/etc", name)
            if source.is_dir():
                shutil.copytree(source, scratch / "etc" / name, symlinks=True)
            elif source.exists():
                shutil.copy(source, scratch / "etc")
        (scratch / "etc/machine-id").write_text(f"{os.getpid():032x}\n")
        own = scratch / "etc/systemd/system"
        own.mkdir(parents=True)
        for name, text in units.items():
            (own / name).parent.mkdir(exist_ok=True)
            (own / name).write_text(text)
        for name, text in {"axon": _AXON, **programs}.items():
            path = scratch / "bin" / name
            path.write_text(text)
            path.chmod(0o755)
