"""`axon policy list`.

Each policy with its mode, how many rules it has, what it has decided, the services that it selects, where
it is written and whether it is in force: yes; older, where the file says something else by now; no; and ?
where no agent runs that could say so.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from axon.cli.parser import add_output
from axon.cli.policy.where import add_where, where

if TYPE_CHECKING:
    from axon.api.policy import Policies
    from axon.policy.language.model import Policy

_COLUMNS = (
    "POLICY",
    "MODE",
    "RULES",
    "FORWARDED",
    "AUDIT",
    "DROPPED",
    "IN FORCE",
    "WORKLOADS",
    "FILE",
)
_SHOWN = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add_output(parser, "text", "json")
    add_where(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print them."""
    from axon.errors import PolicyError
    from axon.policy.files.directory import Directory

    place = where(arguments)
    now = place.agent.policies() if place.agent else None
    try:
        written = Directory(place.directory).policies()
    except PolicyError:
        if now is None or not now.problem:
            raise
        written = []  # the agent's problem says the same
    rows = _rows(now, written)
    denials = now.denials if now else {}
    if arguments.output == "json":
        print(json.dumps({"policies": rows, "denials": denials}, indent=2))
    else:
        _print(rows)
        if denials:
            counts = sorted(denials.items(), key=lambda one: -one[1])
            print("\ndenied: " + ", ".join(f"{reason} {count}" for reason, count in counts))
    if now is None:
        print("axon: no agent runs: nothing tells whether they are in force.", file=sys.stderr)
    elif now.problem:
        print(f"axon: the newest files are not in force:\n{now.problem}", file=sys.stderr)
    elif now.mode != "enforce":
        print(f"axon: the host is in mode {now.mode}: nothing is denied.", file=sys.stderr)
    idle = (
        [f"{one.namespace}/{one.name}" for one in now.policies if not one.workloads] if now else []
    )
    if idle:
        print(
            "axon: of the servers that listen or were asked something none is selected by "
            f"{', '.join(sorted(idle))}.",
            file=sys.stderr,
        )
    return 0


def _rows(now: Policies | None, written: Iterable[Policy]) -> list[dict[str, Any]]:
    """Return what is known of every policy that is in force or written, by name."""
    files = {policy.key: policy for policy in written}
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for one in now.policies if now else ():
        key = one.namespace, one.name
        file = files.get(key)
        rows[key] = {
            "namespace": one.namespace,
            "name": one.name,
            "mode": one.mode,
            "selector": one.selector,
            "rules": one.rules,
            "forwarded": one.forwarded,
            "audit": one.audit,
            "dropped": one.dropped,
            "in_force": "older" if file and file.digest != one.digest else "yes",
            "workloads": one.workloads,
            "file": f"{one.file}:{one.line}",
        }
    for key in files.keys() - rows.keys():
        rows[key] = _written(files[key], "?" if now is None else "no")
    return [rows[key] for key in sorted(rows)]


def _written(policy: Policy, in_force: str) -> dict[str, Any]:
    """Return what a file says of a policy that is not in force as far as is known."""
    from axon.policy.language.model import rules_of

    return {
        "namespace": policy.namespace,
        "name": policy.name,
        "mode": policy.mode.value,
        "selector": str(policy.selector),
        "rules": len(rules_of([policy])),
        "forwarded": None,
        "audit": None,
        "dropped": None,
        "in_force": in_force,
        "workloads": [],
        "file": f"{policy.mark.file}:{policy.mark.line}" if policy.mark else "",
    }


def _print(rows: Sequence[dict[str, Any]]) -> None:
    lines = [_COLUMNS]
    for row in rows:
        counts = ["-" if row[k] is None else str(row[k]) for k in ("forwarded", "audit", "dropped")]
        who = ", ".join(row["workloads"][:_SHOWN])
        more = len(row["workloads"]) - _SHOWN
        shown = f"{who} and {more} more" if more > 0 else who or "-"
        name = f"{row['namespace']}/{row['name']}"
        force = row["in_force"]
        lines.append((name, row["mode"], str(row["rules"]), *counts, force, shown, row["file"]))
    widths = [max(len(line[i]) for line in lines) for i in range(len(_COLUMNS) - 1)]
    for line in lines:
        cells = [
            cell.rjust(width) if 2 <= i <= 5 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line[:-1], widths, strict=True))
        ]
        print("  ".join([*cells, line[-1]]))
