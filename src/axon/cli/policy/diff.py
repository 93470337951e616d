"""`axon policy diff`.

Judges what was asked on this host in the last hours by the policies in force, and by those with the files'
in their place: a policy of the same name is replaced, the others stay; with --all nothing stays. Prints
what would be newly denied, denied but for mode audit, or allowed, with the rule or the reason.

Exit status: 1 if anything would be newly denied, else 0; so that it can be a check in front of apply.

  axon policy diff -f new.yaml
  axon policy diff -f policies/ --all -o json
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from axon.cli.parser import add_output
from axon.cli.policy import add_files
from axon.cli.policy.traffic import add_traffic, in_force, traffic
from axon.cli.policy.where import add_where, where

if TYPE_CHECKING:
    from axon.policy.traffic.seen import Difference


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add_files(parser)
    parser.add_argument(
        "--all", action="store_true", help="the files are all there is: no other policy stays"
    )
    add_traffic(parser)
    add_output(parser, "text", "json")
    add_where(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare, and print what would be otherwise."""
    from axon.policy import check, load_policies
    from axon.policy.traffic.seen import Kind, differences

    new = load_policies(arguments.file)
    check(new)
    place = where(arguments)
    seen = traffic(arguments, place)
    before = in_force(place)
    replaced = {policy.key for policy in new}
    stays = [] if arguments.all else [policy for policy in before if policy.key not in replaced]
    found = differences(seen, before, [*stays, *new])
    if arguments.output == "json":
        print(json.dumps([_fields(one) for one in found], indent=2))
    else:
        for one in found:
            _print(one)
        asked = sum(one.count for one in seen)
        print(f"Of {asked:,} requests {_summary(found)}.")
    return 1 if any(one.kind is Kind.DENIED for one in found) else 0


def _summary(found: list[Difference]) -> str:
    from axon.policy.traffic.seen import Kind

    says = {
        Kind.DENIED: "newly denied",
        Kind.AUDITED: "newly audited",
        Kind.ALLOWED: "newly allowed",
    }
    return ", ".join(
        f"{sum(one.seen.count for one in found if one.kind is kind):,} would be {text}"
        for kind, text in says.items()
    )


def _print(one: Difference) -> None:
    from axon.view.format import safe

    seen = one.seen
    where_ = f"{seen.by} -> {seen.service} port {seen.port}: {seen.method} {seen.route}"
    print(safe(f"newly {one.kind}  {seen.count:,}  {where_}"))
    shown = one.request.target.decode(errors="backslashreplace")
    example = "" if shown == seen.route else f"As {seen.method} {shown}: "
    print(safe(f"    {example}{one.after.why}"))


def _fields(one: Difference) -> dict[str, Any]:
    seen = one.seen
    return {
        "change": one.kind.value,
        "count": seen.count,
        "caller": seen.by,
        "workload": seen.service,
        "port": seen.port,
        "method": seen.method,
        "route": seen.route,
        "path": one.request.target.decode(errors="backslashreplace"),
        "host": one.request.host,
        "before": one.before.fields(),
        "after": one.after.fields(),
    }
