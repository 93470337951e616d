"""`axon observe`.

Without --follow it shows the newest requests that the agent has kept; with it, requests as they happen
until Ctrl-C. The filters are applied in the kernel, before the bound on how many are shown. The last
line, on standard error, says how many matched and how many were shown. It says "at least" where a
service that is a process, and no unit or container, had to be told from others behind that bound.

  axon observe --follow --status 5xx
  axon observe --follow --service nginx.service --min-duration 100ms
  axon observe --last 50 --not --path /healthz -o jsonl
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from axon.cli.connect import add_agent, client
from axon.cli.filters import add_filters, filter_of
from axon.cli.parser import add_output, misused

if TYPE_CHECKING:
    from axon.api.client import Client
    from axon.api.filters import FlowFilter
    from axon.api.schema import Flow

_NEWEST: Final = 20
_ALL: Final = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument(
        "-f", "--follow", action="store_true", help="show requests as they happen, until Ctrl-C"
    )
    parser.add_argument(
        "-n", "--last", type=int, metavar="N",
        help=f"begin with the newest N that were kept; default {_NEWEST}, with --follow 0",
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=int, default=0, metavar="N", help="end after N requests; only with --follow"
    )
    parser.add_argument(
        "--rate", type=float, default=1000.0, metavar="N",
        help="show at most N a second; the rest is only counted; default 1000",
    )  # fmt: skip
    add_output(parser, "compact", "table", "wide", "jsonl", "json")
    add_filters(parser)
    add_agent(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print requests."""
    try:
        wanted = filter_of(arguments)
        _check(arguments)
    except ValueError as error:
        return misused("observe", str(error))
    agent = client(arguments)
    show = _printer(arguments.output)
    if arguments.follow:
        counts = _follow(agent, wanted, arguments, show)
    else:
        counts = _recent(agent, wanted, arguments, show)
    sys.stdout.flush()
    print(counts, file=sys.stderr)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if arguments.output == "json" and arguments.follow:
        raise ValueError("argument -o/--output: json is one document; jsonl goes with --follow")
    if arguments.last is not None and not 0 <= arguments.last <= _ALL:
        raise ValueError(f"argument -n/--last: must be from 0 to {_ALL}")
    if arguments.limit < 0:
        raise ValueError("argument --limit: must not be below 0")


def _recent(agent: Client, wanted: FlowFilter, arguments: argparse.Namespace, show: Printer) -> str:
    flows = agent.recent(wanted, last=_ALL)
    last = _NEWEST if arguments.last is None else arguments.last
    newest = flows[max(0, len(flows) - last) :]
    show(newest)
    return _counts(len(flows), len(newest))


def _follow(agent: Client, wanted: FlowFilter, arguments: argparse.Namespace, show: Printer) -> str:
    options = {"last": arguments.last or 0, "limit": arguments.limit}
    with agent.follow(wanted, rate=arguments.rate, **options) as stream:
        with contextlib.suppress(KeyboardInterrupt):  # the usual way to end
            show(stream)
        finish = stream.finish()
    return _counts(finish.matched, finish.shown, more=finish.at_least) if finish else _counts(0, 0)


def _counts(matched: int, shown: int, *, more: bool = False) -> str:
    return f"{'at least ' if more else ''}{matched:,} matched, {shown:,} shown"


Printer = Callable[[Iterable["Flow"]], None]


def _printer(form: str) -> Printer:
    import msgspec

    if form == "json":
        return lambda flows: print(
            msgspec.json.format(msgspec.json.encode(list(flows)), indent=2).decode()
        )
    if form == "jsonl":
        return lambda flows: _print_lines(msgspec.json.encode(flow).decode() for flow in flows)
    from axon.view import flows as view

    fields = {"compact": view.COMPACT, "table": view.TABLE, "wide": view.WIDE}[form]
    lines = view.Lines(fields, colours=_colours())

    def show(flows: Iterable[Flow]) -> None:
        if form != "compact":
            print(lines.heading())
        _print_lines(lines.line(flow) for flow in flows)

    return show


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)


def _colours() -> bool:
    """Colours are for terminals, and for nobody who said no (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
