"""`axon detach`.

Programs leave their hooks, maps and their counts go. Nothing is removed while an agent runs.
Needs root.
"""

from __future__ import annotations

import argparse

from axon.cli.parser import add_config


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
    removed = kernel.detach_all(loaded.pin_dir)
    for path in removed:
        print(f"removed {path}")
    if not removed:
        print(f"nothing of Axon is pinned in {loaded.pin_dir}")
    return 0
