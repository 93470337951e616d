"""The agent that a verb asks."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from axon.cli.parser import add_config

if TYPE_CHECKING:
    from axon.api.client import Client


def add_agent(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which agent is asked."""
    from axon import settings

    add_config(parser)
    settings.add_flags(parser.add_argument_group("settings"), {"run_dir"})


def client(arguments: argparse.Namespace) -> Client:
    """Return a client of the agent whose socket the settings name."""
    from axon import settings
    from axon.api.client import Client

    loaded = settings.load(file=arguments.config, flags=settings.flags_of(arguments))
    return Client(loaded.socket)
