"""`axon policy validate`.

Says all that is wrong, as FILE:LINE:COLUMN and what to write instead. The exit status is 1 if
anything is.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument(
        "file", type=Path, nargs="+", metavar="PATH", help="a file of policies, or a directory"
    )


def run(arguments: argparse.Namespace) -> int:
    """Read the policies and say what there is."""
    from axon.policy import check, load_policies, rules_of

    policies = load_policies(arguments.file)
    check(policies)
    for policy in policies:
        rules = len(rules_of([policy]))
        word = "rule" if rules == 1 else "rules"
        print(f"{policy}: {policy.mode}, {rules} {word}")
    if not policies:
        print("there are no policies there")
    return 0
