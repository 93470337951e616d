"""`axon policy generate`.

Prints the least policies that allow what was asked on this host in the last hours, a policy for each
workload: by caller, method and route, with how often each was asked for. What the policies in force deny
is left out. They are in mode audit: review them, apply them, look at what they would deny, and enforce.

  axon policy generate > policies.yaml
  axon policy generate --workload nginx.service --mode enforce
"""

from __future__ import annotations

import argparse
import sys

from axon.cli.policy.traffic import add_traffic, in_force, traffic
from axon.cli.policy.where import add_where, where


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument(
        "--workload", metavar="WHO", default="",
        help="only for these: KEY=VALUE,... or a service as axon top shows it",
    )  # fmt: skip
    parser.add_argument(
        "--mode", choices=("audit", "enforce"), default="audit",
        help="mode of the policies; default audit",
    )  # fmt: skip
    add_traffic(parser)
    add_where(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print them."""
    from axon.errors import PolicyError
    from axon.policy.judging import asked
    from axon.policy.traffic.generate import generate
    from axon.policy.traffic.seen import allowed

    place = None if arguments.traffic else where(arguments)
    seen = traffic(arguments, place)
    if place:
        seen = allowed(seen, in_force(place))
    wanted = asked.labels_of(asked.words_of(arguments.workload)).items()
    seen = [one for one in seen if wanted <= one.workload.labels.items()]
    texts = list(generate(seen, arguments.mode))
    if not texts:
        raise PolicyError("Nothing was asked of such a workload: let it be used, and try again.")
    requests = sum(one.count for one in seen)
    print(f"# What {requests:,} requests have asked for.\n" + "---\n".join(texts), end="")
    print(f"axon: {len(texts)} policies, for review.", file=sys.stderr)
    return 0
