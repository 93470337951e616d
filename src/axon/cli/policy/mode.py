"""`axon policy mode`.

audit lets everything by and counts what would be denied; enforce denies; off judges nothing. It holds
at once on the whole host, with or without an agent, until it is changed again.
"""

from __future__ import annotations

import argparse

from axon.cli.parser import add_config

MODES = ("off", "audit", "enforce")
"""As HostMode has them, which a parser is not to import."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    from axon import settings

    parser.add_argument(
        "mode",
        nargs="?",
        choices=MODES,
        help="what to do from now on; left out: print what is done",
    )
    add_config(parser)
    settings.add_flags(parser.add_argument_group("settings"), {"pin_dir"})


def run(arguments: argparse.Namespace) -> int:
    """Switch, or print."""
    from axon import kernel, settings
    from axon.errors import KernelError
    from axon.kernel import system
    from axon.policy.compiler.layout import HostMode

    if system.missing_capabilities(system.capabilities()):
        raise KernelError("Reading the kernel programs' state needs root: try again with sudo.")
    loaded = settings.load(file=arguments.config, flags=settings.flags_of(arguments))
    with kernel.policy_mode(loaded.pin_dir) as control:
        before = HostMode(control.mode).name.lower()
        if arguments.mode is None:
            print(before)
            return 0
    kernel.switch_policy_mode(loaded.pin_dir, HostMode[arguments.mode.upper()])
    print(f"{arguments.mode} (it was {before})")
    return 0
