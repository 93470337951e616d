"""`axon run`.

Loads the programs into the kernel and looks at them once a second until q or Ctrl-C, SIGTERM where
there is no terminal. At the end the programs are detached, unless the setting keep says otherwise.
Needs root; axon doctor says what else.
"""

from __future__ import annotations

import argparse
import os
import sys

from axon.cli.parser import add_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    from axon import settings

    parser.add_argument(
        "--duration", type=_seconds, metavar="SECONDS",
        help="end after so long and print the table; exit status 0",
    )  # fmt: skip
    parser.add_argument(
        "--no-table", action="store_true", help="write the log to a terminal too, show no table"
    )
    add_config(parser)
    settings.add_flags(parser.add_argument_group("settings"))


def run(arguments: argparse.Namespace) -> int:
    """Run the agent until it is told to end."""
    from axon import settings
    from axon.cli.lean import lean_imports
    from axon.errors import BusyError

    with lean_imports():
        import asyncio

        from axon.cli import foreground

    loaded = settings.load(file=arguments.config, flags=settings.flags_of(arguments))
    show = foreground.with_log
    if _has_screen() and not arguments.no_table:
        show = foreground.with_table
    try:
        return asyncio.run(show(loaded, arguments.duration))
    except BusyError as error:
        raise BusyError(f"{error} Or look at what it sees: axon top.") from error


def _has_screen() -> bool:
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return terminal and os.environ.get("TERM", "dumb") != "dumb"


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 1e9:
        raise ValueError
    return seconds
