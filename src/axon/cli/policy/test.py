"""`axon policy test`.

The file is a YAML list. An entry says who asks whom for what, and whether it should be allowed; with
rule also which policy or rule should decide it. What a policy in mode audit does not allow counts as
denied. Who is meant is written as for axon policy explain, and with --labels has the labels of that file
too. The exit status is 1 if anything is otherwise.

  - {request: GET /api/users, from: app=frontend, workload: app=backend, expect: allow}
  - {request: DELETE /api/users, from: 10.0.0.7, workload: nginx.service, expect: deny, host: a.example}
  - {request: POST /x, workload: app=backend, expect: deny, rule: backend-api-policy, port: 8080}
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from axon.cli.policy import add_files, add_labels, labels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add_files(parser)
    add_labels(parser)
    parser.add_argument("expectations", type=Path, metavar="FILE", help="what is expected")


def run(arguments: argparse.Namespace) -> int:
    """Compare, and print what is otherwise."""
    from axon.policy import load_policies
    from axon.policy.judging.expect import read_expectations

    policies = load_policies(arguments.file)
    expectations = read_expectations(arguments.expectations, labels(arguments))
    differences = [d for one in expectations if (d := one.difference(policies)) is not None]
    for difference in differences:
        print(difference)
    as_expected = len(expectations) - len(differences)
    print(f"{as_expected} of {len(expectations)} as expected", file=sys.stderr)
    return 1 if differences else 0
