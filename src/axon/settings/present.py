"""The table of settings as people see it: flags, `axon config`, a sample file, the documentation."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Container
from dataclasses import dataclass

from axon.settings.kinds import Size, show
from axon.settings.table import Setting, Settings, table


@dataclass(frozen=True, slots=True)
class Effective:
    """A setting's value in use, as text, and where it came from."""

    name: str
    value: str
    source: str


def effective(settings: Settings) -> list[Effective]:
    """Return every setting with its value and source, in the table's order."""
    return [
        Effective(name, show(getattr(settings, name)), settings.origins.get(name, "default"))
        for name in table()
    ]


def add_flags(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,
    names: Container[str] | None = None,
) -> None:
    """Add a flag for every setting, or for those in `names`; values stay text until `load`."""
    for name, setting in table().items():
        if names is not None and name not in names:
            continue
        text = f"{setting.help} Default: {show(setting.default)}.".replace("%", "%%")
        if isinstance(setting.default, bool):
            parser.add_argument(
                setting.flag, action=argparse.BooleanOptionalAction, default=None, help=text
            )
        else:
            parser.add_argument(setting.flag, metavar=setting.kind.metavar, help=text)


def flags_of(arguments: argparse.Namespace) -> dict[str, object]:
    """Return the settings that were given on a parsed command line, for `load`."""
    given = vars(arguments)
    return {name: given[name] for name in table() if given.get(name) is not None}


def bounds_of(setting: Setting) -> str:
    """Return a setting's bounds or choices as text; empty when anything of its kind will do."""
    low, high = setting.about.low, setting.about.high
    if low is None or high is None:
        return ", ".join(setting.kind.choices)
    kind = Size if isinstance(setting.default, Size) else type(setting.default)
    return f"{show(kind(low))} to {show(kind(high))}"


def sample_file() -> str:
    """Return a TOML file in which every setting stands as a comment with its default."""
    parts = ["# Axon's settings. Remove the # before a line to change it.\n"]
    for name, setting in table().items():
        parts.append(textwrap.fill(setting.help, 98, initial_indent="# ", subsequent_indent="# "))
        if bounds := bounds_of(setting):
            parts.append(f"# ({bounds})")
        parts.append(f"#{name} = {_toml(setting.default)}\n")
    return "\n".join(parts)


def markdown() -> str:
    """Return the documentation's table of settings."""
    lines = ["| file, flag, environment | default | bounds | what it does |", "|---|---|---|---|"]
    for name, setting in table().items():
        where = f"`{name}` `{setting.flag}` `{setting.env}`"
        default, bounds = show(setting.default), bounds_of(setting)
        lines.append(f"| {where} | `{default}` | {bounds} | {setting.help} |")
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{word}"' for word in value) + "]"
    plain = isinstance(value, (bool, int, float)) and not isinstance(value, Size)
    return show(value) if plain else f'"{show(value)}"'
