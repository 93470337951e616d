"""What was asked on this host, for the verbs that judge it."""

from __future__ import annotations

import argparse
import ipaddress
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from axon.cli.policy.where import Where

if TYPE_CHECKING:
    from axon.api.policy import Exchange
    from axon.policy.language.model import Policy
    from axon.policy.traffic.seen import Seen


def add_traffic(parser: argparse.ArgumentParser) -> None:
    """Add the option that names traffic of another time or host."""
    parser.add_argument(
        "--traffic", type=Path, metavar="FILE",
        help="judge this instead of what the agent has seen: what GET /api/v1/traffic gave",
    )  # fmt: skip


def traffic(arguments: argparse.Namespace, place: Where | None) -> list[Seen]:
    """Return what was asked. Raise PolicyError where nobody knows."""
    import msgspec

    from axon.api.policy import Traffic
    from axon.errors import PolicyError
    from axon.policy.files.contents import read_text

    if arguments.traffic:
        try:
            found = msgspec.json.decode(read_text(arguments.traffic), type=Traffic)
        except msgspec.DecodeError as error:
            raise PolicyError(
                f"{arguments.traffic} is not what GET /api/v1/traffic gives ({error}): save its "
                "answer in a file."
            ) from error
    elif place and place.agent:
        found = place.agent.traffic()
        if not found.seconds:
            raise PolicyError("The agent remembers no traffic: set traffic_hours to more than 0.")
    else:
        raise PolicyError(
            "No agent is running that has seen traffic: start it with axon run --policy, or name a "
            "file with --traffic."
        )
    if found.lost:
        print(
            f"axon: {found.lost:,} requests are left out, for which the agent had no room.",
            file=sys.stderr,
        )
    return [_seen(one) for one in found.exchanges]


def in_force(place: Where) -> list[Policy]:
    """Return the policies of the directory, which are in force as far as the agent says so."""
    from axon.policy.files.directory import Directory

    policies = Directory(place.directory).policies()
    if place.agent:
        digests = {one.digest for one in place.agent.policies().policies}
        if digests != {policy.digest for policy in policies}:
            print(
                "axon: what is in force is not what the files say (axon policy list): requests are "
                "compared by the files.",
                file=sys.stderr,
            )
    return policies


def _seen(one: Exchange) -> Seen:
    from axon.policy.judging.judge import Caller
    from axon.policy.language.labels import Party
    from axon.policy.traffic.seen import Seen

    who = one.caller
    party = None if who.labels is None else Party.of(who.labels, who.namespace)
    address = None if who.address is None else ipaddress.ip_address(who.address)
    return Seen(
        service=one.service,
        workload=Party.of(one.labels, one.namespace),
        port=one.port,
        by=who.service or who.address or "callers that are not told apart",
        caller=Caller(party, address),
        told=party is not None or address is not None,
        method=one.method,
        route=one.route,
        count=one.count,
        denied=one.denied,
        samples=tuple((sample.path, sample.host) for sample in one.samples),
    )
