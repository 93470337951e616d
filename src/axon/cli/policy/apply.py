"""`axon policy apply`.

Writes each policy of the files into a file of its own in the agent's directory of policies, comments
included, and says when it is in force. All of them or none: what the agent would refuse is refused,
and the directory stays as it was, also if this is ended by Ctrl-C, SIGTERM or SIGHUP. A policy that stands in a file of another name is not replaced.

Exit status: 0 in force; 1 refused; 3 written, but no agent runs.

  axon policy apply -f web.yaml
  axon policy apply -f policies/ --dry-run
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from axon.cli.policy import add_files
from axon.cli.policy.where import Where, add_where, bring, tell, where

if TYPE_CHECKING:
    from axon.policy.files.directory import Change, Directory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add_files(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything and say what would be written"
    )
    add_where(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check, write, and wait until the agent has taken it up."""
    from axon.cli.policy.interrupting import as_by_ctrl_c
    from axon.policy.files.directory import Directory

    place = where(arguments)
    directory = Directory(place.directory)
    if arguments.dry_run:
        for change in _checked(arguments.file, directory, place):
            print(f"{change.policy}: would be {change.what} ({change.file})")
        return 0
    with as_by_ctrl_c(), directory.locked():
        changes = _checked(arguments.file, directory, place)
        now = bring(place, directory, changes)
    return tell(changes, now)


def _checked(files: list[Path], directory: Directory, place: Where) -> list[Change]:
    """Return what is to be done. Raise PolicyError for what the agent would refuse."""
    from axon.agent.residents import check_together
    from axon.errors import PolicyError

    changes = directory.to_apply(files)
    if not changes:
        raise PolicyError("There is no policy in these files: name files that have one.")
    check_together(directory.after(changes), place.settings)
    return changes
