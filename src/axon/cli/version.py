"""`axon version`."""

from __future__ import annotations

import argparse
import json
import platform

from axon import __version__
from axon.cli.parser import add_output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add_output(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    """Print the version of Axon, of Python and of the kernel."""
    about = {
        "axon": __version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
    }
    if arguments.output == "json":
        print(json.dumps(about))
    else:
        print(f"axon {about['axon']} (Python {about['python']}, Linux {about['kernel']})")
    return 0
