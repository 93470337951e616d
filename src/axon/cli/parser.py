"""Parsers: one for a verb that is run, one for all verbs where a shell's completion asks for them."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Protocol, cast

from axon.cli.verbs import VERBS


class Verb(Protocol):
    """A verb's module. Its docstring is the verb's description: first line, blank line, the rest."""

    __doc__: str | None

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Add the verb's options."""

    @staticmethod
    def run(arguments: argparse.Namespace) -> int:
        """Do it and return the exit status. Raises AxonError when it cannot be done."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the description's lines, and shows an option's value once."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


def module(name: str) -> Verb:
    """Return a verb's module."""
    return cast("Verb", importlib.import_module(f"axon.cli.{name}"))


def for_verb(name: str) -> argparse.ArgumentParser:
    """Return the parser of one verb, `axon NAME`."""
    return _furnish(argparse.ArgumentParser(prog=f"axon {name}"), name)


def for_all() -> argparse.ArgumentParser:
    """Return the parser of every verb at once. Imports them all."""
    parser = argparse.ArgumentParser(prog="axon")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    for name, text in VERBS.items():
        _furnish(verbs.add_parser(name, help=text), name)
    return parser


def _furnish(parser: argparse.ArgumentParser, name: str) -> argparse.ArgumentParser:
    verb = module(name)
    more = (verb.__doc__ or "").partition("\n\n")[2]
    parser.usage = f"axon {name} [OPTION]..."
    parser.description = f"{VERBS[name].capitalize()}.\n\n{more}".rstrip()
    parser.formatter_class = _Formatter
    parser.allow_abbrev = False
    verb.add_arguments(parser)
    return parser


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the settings file."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings file; default /etc/axon/axon.toml"
    )


def add_output(parser: argparse.ArgumentParser, *choices: str) -> None:
    """Add the option for the form of the output; the first choice is the default."""
    parser.add_argument(
        "-o", "--output", choices=choices, default=choices[0],
        help=f"form of the output; default {choices[0]}",
    )  # fmt: skip


def misused(name: str, message: str) -> int:
    """Say what is wrong with a verb's options, in argparse's form; return the exit status."""
    print(f"usage: axon {name} [OPTION]...\naxon {name}: error: {message}", file=sys.stderr)
    return 2
