"""`axon config`.

Settings come from the built-in defaults, then the file, then the environment, then the flags. This
verb takes the same flags as `axon run`, to show what they would change.
"""

from __future__ import annotations

import argparse
import json

from axon.cli.parser import add_config, add_output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    from axon import settings

    add_output(parser, "text", "json")
    add_config(parser)
    parser.add_argument(
        "--sample", action="store_true", help="print a settings file with every default in comments"
    )
    settings.add_flags(parser.add_argument_group("settings"))


def run(arguments: argparse.Namespace) -> int:
    """Print every setting, its value and its source."""
    from axon import settings

    if arguments.sample:
        print(settings.sample_file(), end="")
        return 0
    loaded = settings.load(file=arguments.config, flags=settings.flags_of(arguments))
    rows = settings.effective(loaded)
    if arguments.output == "json":
        print(json.dumps([{"name": r.name, "value": r.value, "source": r.source} for r in rows]))
        return 0
    names = max(len(row.name) for row in rows)
    values = max(len(row.value) for row in rows)
    for row in rows:
        print(f"{row.name:<{names}}  {row.value:<{values}}  {row.source}")
    return 0
