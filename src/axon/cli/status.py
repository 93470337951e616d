"""`axon status`.

The exit status is 0 when the agent runs and is healthy, else 1. Run times of programs are counted
while the kernel's setting kernel.bpf_stats_enabled is on.
"""

from __future__ import annotations

import argparse

from axon.cli.connect import add_agent, client
from axon.cli.parser import add_output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add_output(parser, "text", "json")
    add_agent(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what the agent says of itself."""
    import msgspec

    from axon.view import report

    now = client(arguments).status()
    if arguments.output == "json":
        print(msgspec.json.encode(now).decode())
    else:
        print(report.status(now), end="")
    return 0 if now.healthy else 1
