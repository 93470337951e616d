"""Runs the measurements named on the command line, or all of them, and writes the page."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from axon.errors import AxonError
from bench import agent, bulk, idle, kernel, look, policy, report, scrape, throughput
from bench.report import Table
from bench.world import BenchError

SECTIONS: Mapping[str, Sequence[Callable[[], Table]]] = {
    "kernel": (kernel.measure,),
    "throughput": (throughput.measure,),
    "policy": policy.MEASURES,
    "agent": (agent.measure,),
    "scrape": (scrape.measure,),
    "look": (look.measure,),
    "idle": (idle.measure,),
    "bulk": (bulk.measure,),
}

PARTS = {
    f"{name}/{measure.__module__.rpartition('.')[2]}": (measure,)
    for name, measures in SECTIONS.items()
    if len(measures) > 1
    for measure in measures
}
"""The measurements of sections that have several, each by itself."""


def main() -> int:
    """Measure; with no names given, or when told to, also write docs/bench.md and the README's table."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "section",
        nargs="*",
        choices=[[], *SECTIONS, *PARTS],
        help=f"of {', '.join([*SECTIONS, *PARTS])}; default: all",
    )
    parser.add_argument(
        "--write", action="store_true", help="write what is measured into the page, beside the rest"
    )
    arguments = parser.parse_args()
    names = arguments.section or list(SECTIONS)
    whole = set(names) >= SECTIONS.keys()
    if os.geteuid() != 0:
        sys.exit("bench: loading programs into the kernel needs root: sudo make bench")
    if arguments.write and not whole and not report.is_of_this_machine():
        sys.exit("bench: docs/bench.md is of another machine: measure all, or without --write")
    tables = []
    for name in names:
        print(f"# {name} ...", file=sys.stderr, flush=True)
        for measure in PARTS.get(name) or SECTIONS[name]:
            try:
                tables.append(measure())
            except (BenchError, AxonError) as e:
                sys.exit(f"bench: {name}: {e}")
            print(tables[-1].markdown(), flush=True)
    if whole or arguments.write:
        report.write(tables, whole=whole)
    return 0


if __name__ == "__main__":
    sys.exit(main())
