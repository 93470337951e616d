"""`axon detach`.

The programs leave their hooks; the maps and their counts go. Nothing is removed while an agent runs.
Needs root.
"""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from axon.cli.parser import add_config

if TYPE_CHECKING:
    from axon.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    from axon import settings

    parser.add_argument(
        "--all",
        action="store_true",
        help="also remove what the agent keeps in the run directory: totals of retired series, logs",
    )
    add_config(parser)
    settings.add_flags(parser.add_argument_group("settings"), {"pin_dir", "run_dir"})


def run(arguments: argparse.Namespace) -> int:
    """Remove it, and say what was there."""
    from axon import kernel, settings
    from axon.errors import KernelError
    from axon.kernel import system

    if system.missing_capabilities(system.capabilities()):
        raise KernelError("Detaching programs from the kernel needs root: try again with sudo.")
    loaded = settings.load(file=arguments.config, flags=settings.flags_of(arguments))
    if arguments.all:
        _require_silence(loaded.socket)
    judged = _judges(loaded.pin_dir)
    removed = kernel.detach_all(loaded.pin_dir)
    if arguments.all:
        removed += _forget(loaded)
    for path in removed:
        print(f"removed {path}")
    if judged:
        print("policies are not in force any more: every request is let by")
    if not removed:
        print(f"nothing of Axon is pinned in {loaded.pin_dir}")
    return 0


def _judges(pin_dir: Path) -> bool:
    """Return whether policies are in force."""
    from axon import kernel
    from axon.errors import KernelError

    with suppress(KernelError, OSError), kernel.policy_mode(pin_dir) as switch:
        return switch.in_force
    return False


def _require_silence(socket: Path) -> None:
    """Raise BusyError while an agent answers in the run directory, whatever its pin directory."""
    from axon.api.client import Client
    from axon.errors import ApiError, BusyError

    with suppress(ApiError):
        Client(socket).health()
        raise BusyError(f"An agent answers on {socket}. End it first (`systemctl stop axon`).")


def _forget(loaded: Settings) -> list[str]:
    """Remove the files that an agent keeps between its runs; return which there were."""
    from axon.agent.ticker import LEDGER
    from axon.export.state import FILE
    from axon.kernel.loader import VERIFIER_LOG
    from axon.kernel.lock import LOCK_FILE

    removed = []
    for name in (LEDGER, FILE, VERIFIER_LOG, LOCK_FILE, loaded.socket.name):
        with suppress(FileNotFoundError):
            (loaded.run_dir / name).unlink()
            removed.append(str(loaded.run_dir / name))
    with suppress(OSError):  # what others have put there stays
        loaded.run_dir.rmdir()
    return removed
