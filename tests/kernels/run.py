"""`python -m tests.kernels`: runs a command on another kernel."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.kernels import accelerator, ending, fetch, guest, table
from tests.kernels.errors import GuestError, KernelsError
from tests.kernels.table import Row, Table

REPOSITORY = Path(__file__).parents[2]
STATUS_NOT_RUN = 125

# What a command in the guest inherits; its PATH, HOME and locale make it the same user space.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "VIRTUAL_ENV", "PYTHONPATH")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(prog="python -m tests.kernels", description=__doc__)
    line.add_argument("-k", "--kernel", action="append", default=[], metavar="NAME",
                      help="a kernel of the table; may be repeated (default: all)")  # fmt: skip
    line.add_argument("--table", type=Path, default=table.TABLE, metavar="FILE")
    line.add_argument("--list", action="store_true", help="print the table and end")
    line.add_argument("--update", action="store_true", help="ask the archives for newer packages")
    line.add_argument("--share", action="append", default=[], type=Path, metavar="DIR",
                      help="a directory whose files are written through to this machine")  # fmt: skip
    line.add_argument("--env", action="append", default=[], metavar="NAME[=VALUE]",
                      help="an environment variable for the command")  # fmt: skip
    line.add_argument("--cgroup", choices=("v2", "hybrid", "v1"), default="v2")
    line.add_argument("--sysctl", action="append", default=[], metavar="NAME=VALUE")
    line.add_argument("--append", default="", help="more of the kernel's command line")
    line.add_argument("--cards", type=int, default=0, metavar="NUMBER",
                      help="network cards, joined to each other")  # fmt: skip
    line.add_argument("--memory", type=int, default=1024, metavar="MIB")
    line.add_argument("--cpus", type=int, default=2)
    line.add_argument("--timeout", type=float, default=1200.0, metavar="SECONDS")
    line.add_argument("command", nargs="*", metavar="COMMAND",
                      help="after --; run as root, in this directory (default: uname -a)")  # fmt: skip
    return line


def environment(row: Row, chosen: Table, more: Sequence[str]) -> dict[str, str]:
    """The environment of the command: a few inherited variables and those of `--env`.

    A guest with another user space inherits none, but finds this source tree.
    """
    if row.userspace:
        paths = f"{REPOSITORY / 'src'}:{REPOSITORY}"
        own = {"HOME": "/root", "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
        variables = own | dict(chosen.userspaces[row.userspace].environment)
    else:
        variables = {name: os.environ[name] for name in INHERITED if name in os.environ}
        # first this Python: a python3 that is a wrapper takes seconds where all is emulated
        variables["PATH"] = f"{Path(sys.executable).parent}:{variables.get('PATH', os.defpath)}"
    for entry in more:
        name, given, value = entry.partition("=")
        variables[name] = value if given else os.environ.get(name, "")
    return variables


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the command's exit status (the highest of several kernels), or 125."""
    line = parser().parse_args(arguments)
    ending.on_signals()
    try:
        chosen = table.read(line.table)
        rows = chosen.choose(line.kernel)
        if line.list:
            for row in rows:
                print(f"{row.name:10} {row.arch:6} {row.reason}")
            return 0
        status = 0
        for row in rows:
            image = fetch.make(row, chosen, update=line.update)
            setup = guest.Setup(
                cgroup=line.cgroup,
                sysctls=dict(setting.split("=", 1) for setting in line.sysctl),
                append=line.append,
                shares=[share.absolute() for share in line.share],
                covered=[REPOSITORY] if row.userspace else [],
                cards=line.cards,
                memory=line.memory,
                cpus=line.cpus,
                accelerator=accelerator.choose(image),
            )
            result = guest.run(
                image,
                line.command or ["uname", "-a"],
                setup=setup,
                environment=environment(row, chosen, line.env),
                timeout=line.timeout,
                output=_write,
            )
            print(
                f"{row.name}: {image.release}: exit status {result.status}"
                f" after {result.seconds:.1f} s",
                file=sys.stderr,
            )
            status = max(status, result.status)
    except (KernelsError, GuestError) as error:
        print(f"kernels: {error}", file=sys.stderr)
        return STATUS_NOT_RUN
    return status
