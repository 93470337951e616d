"""`axon policy apply`.

Writes each policy of the files into a file of its own in the agent's directory of policies, comments
included, and says when it is in force. All of them or none: what the agent would refuse is refused,
and the directory stays as it was. A policy that stands in a file of another name is not replaced.

Exit status: 0 in force; 1 refused; 3 written, but no agent runs.

  axon policy apply -f web.yaml
  axon policy apply -f policies/ --dry-run
"""

from __future__ import annotations

import argparse

from axon.cli.policy import add_files
from axon.cli.policy.where import add_where, bring, tell, where


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add_files(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything and say what would be written"
    )
    add_where(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check, write, and wait until the agent has taken it up."""
    from axon.agent.residents import check_together
    from axon.errors import PolicyError
    from axon.policy.files.directory import Directory

    place = where(arguments)
    directory = Directory(place.directory)
    changes = directory.to_apply(arguments.file)
    if not changes:
        raise PolicyError("There is no policy in these files: name files that have one.")
    check_together(directory.after(changes), place.settings)
    if arguments.dry_run:
        for change in changes:
            print(f"{change.policy}: would be {change.what} ({change.file})")
        return 0
    return tell(changes, bring(place, directory, changes))
