"""`axon policy`.

Policies are L7NetworkPolicy documents (axon.dev/v1alpha1) in YAML files, or in the *.yaml and *.yml
files of directories. mode needs root; apply, delete, list, diff and generate ask an agent, by its socket; the others
need neither.

  axon policy validate policies/
  axon policy explain -f policies/ --workload app=backend --from app=frontend GET /api/users
  axon policy test -f policies/ expectations.yaml
  axon policy apply -f policies/
  axon policy mode audit
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from axon.policy.parties.given import Given

VERBS: Final[Mapping[str, str]] = {
    "validate": "check policies: all that is wrong, with line and column",
    "explain": "which rule decides a request, and why",
    "test": "check that policies do what a file expects of them",
    "diff": "what a change would newly allow or deny of what was asked in the last hours",
    "generate": "the least policies that allow what was asked in the last hours",
    "apply": "write policies into the agent's directory, and wait until they are in force",
    "list": "policies with what they select and have decided, and whether they are in force",
    "delete": "remove a policy that apply wrote",
    "mode": "have the policies in force deny, or only count; or print which",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verbs below this one."""
    parser.usage = f"axon policy {'|'.join(VERBS)} [OPTION]..."
    verbs = parser.add_subparsers(
        prog="axon policy",
        title="verbs",
        metavar="VERB",
        required=True,
        help="axon policy VERB --help says more",
    )
    for name, text in VERBS.items():
        module = importlib.import_module(f"axon.cli.policy.{name}")
        more = (module.__doc__ or "").partition("\n\n")[2]
        one = verbs.add_parser(
            name,
            help=text,
            description=f"{text.capitalize()}.\n\n{more}".rstrip(),
            formatter_class=parser.formatter_class,
            allow_abbrev=False,
        )
        module.add_arguments(one)
        one.set_defaults(run_policy=module.run)


def run(arguments: argparse.Namespace) -> int:
    """Do what the verb below says."""
    return cast("int", arguments.run_policy(arguments))


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the policies."""
    parser.add_argument(
        "-f", "--file", type=Path, metavar="PATH", action="append", required=True,
        help="a file of policies, or a directory of them; may be given several times",
    )  # fmt: skip


def add_labels(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the user's labels."""
    parser.add_argument(
        "--labels", type=Path, metavar="FILE",
        help="labels of workloads, callers and addresses, as in the setting policy_labels",
    )  # fmt: skip


def labels(arguments: argparse.Namespace) -> Given:
    """Return what the user's labels are. Raise PolicyError, which says all that is wrong."""
    from axon.policy.files.readgiven import read_given
    from axon.policy.parties.given import NOTHING

    return read_given(arguments.labels) if arguments.labels else NOTHING
