"""The filters of `axon observe`, from the command line to the API's."""

from __future__ import annotations

import argparse
import re
from typing import Any, Final

from axon.api.filters import DESCRIPTIONS, FlowFilter, QueryError, parse

_METAVARS: Final = {
    "method": "M[,M]",
    "status": "CODE",
    "path": "PREFIX",
    "service": "NAME",
    "address": "ADDR[/BITS]",
    "port": "N",
    "server_port": "N",
    "min_duration": "TIME",
    "role": "ROLE",
    "command": "NAME",
    "verdict": "V[,V]",
}
_HELP: Final = {
    **DESCRIPTIONS,
    "min_duration": "Shortest duration: 250ms, 1.5s, 800us.",
    "error": "Only requests answered by 5xx or not completely.",
}
_UNITS: Final = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "": 1.0}


class _Not(argparse.Action):
    """Remembers that the next filter is to be turned round."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        _values: object,
        _option: str | None = None,
    ) -> None:
        if namespace.negate_next:
            raise argparse.ArgumentError(self, "stands before another --not")
        namespace.negate_next = True


class _Take(argparse.Action):
    """Checks one filter and adds it to the query."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        _option: str | None = None,
    ) -> None:
        text = "true" if self.nargs == 0 else str(values)
        query = [*namespace.query, (self.dest, text)]
        try:
            if self.dest == "min_duration":
                query[-1] = (self.dest, seconds(text))
            if namespace.negate_next:
                query.append(("not", self.dest))
            parse(query)
        except QueryError as error:
            raise argparse.ArgumentError(self, str(error).removeprefix(f"{self.dest} ")) from None
        namespace.query = query
        namespace.negate_next = False


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add an option for each filter, and the one that negates the next."""
    parser.set_defaults(query=(), negate_next=False)
    group = parser.add_argument_group("filters", "A request has to pass all of them.")
    group.add_argument(
        "--not", action=_Not, nargs=0, dest="negate_next", help="turn the next filter round"
    )
    for name, text in _HELP.items():
        group.add_argument(
            f"--{name.replace('_', '-')}",
            action=_Take,
            nargs=0 if name == "error" else None,
            default=argparse.SUPPRESS,
            metavar=_METAVARS.get(name),
            help=text.replace("%", "%%"),
        )


def filter_of(arguments: argparse.Namespace) -> FlowFilter:
    """Return the filter that was asked for; ValueError when a --not has nothing to turn round."""
    if arguments.negate_next:
        raise ValueError("argument --not: stands before the filter that it turns round")
    return parse(arguments.query)


def seconds(text: str) -> str:
    """Return a duration with a unit (250ms, 1.5s, 800us; without one: seconds) in seconds."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(us|µs|ms|s|)", text)
    if match is None:
        raise QueryError(f"must be like 250ms or 1.5s, not {text!r}")
    return f"{float(match[1]) * _UNITS[match[2]]:.9f}"
