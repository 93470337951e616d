"""`axon policy delete`.

Removes the file of a policy that `axon policy apply` wrote, and says when the policy is no longer in
force. A policy that stands in another file is left: the message says where.

Exit status: 0 not in force any more; 1 refused; 3 removed, but no agent runs.
"""

from __future__ import annotations

import argparse

from axon.cli.policy.where import add_where, bring, tell, where


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("name", metavar="NAME", help="the policy's name")
    parser.add_argument(
        "-n", "--namespace", default="default", metavar="NAME", help="its namespace, if not default"
    )
    add_where(parser)


def run(arguments: argparse.Namespace) -> int:
    """Remove it, and wait until the agent has taken that up."""
    from axon.cli.policy.interrupting import as_by_ctrl_c
    from axon.policy.files.directory import Directory

    place = where(arguments)
    directory = Directory(place.directory)
    with as_by_ctrl_c(), directory.locked():
        changes = [directory.to_delete(arguments.name, arguments.namespace)]
        now = bring(place, directory, changes)
    return tell(changes, now)
