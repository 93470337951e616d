"""Where the policies of this host are: the agent that has them in force, and their directory."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from axon.cli.parser import add_config

if TYPE_CHECKING:
    from axon.api.client import Client
    from axon.api.policy import Policies
    from axon.policy.files.directory import Change, Directory
    from axon.settings import Settings

PATIENCE = 60.0  # seconds that bringing policies into force may take
NOT_SEEN = 3
"""Exit status: it is written, and no agent runs that could say whether it is in force."""


class Where(NamedTuple):
    """The directory of policies, and the agent, or None where none runs."""

    directory: Path
    agent: Client | None
    settings: Settings


def add_where(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which agent is asked, and which directory is meant without one."""
    from axon import settings

    add_config(parser)
    settings.add_flags(parser.add_argument_group("settings"), {"run_dir", "policy"})


def where(arguments: argparse.Namespace) -> Where:
    """Return where policies are. Raise PolicyError where that is not known."""
    from axon import settings
    from axon.api.client import Client
    from axon.errors import AbsentError, PolicyError

    loaded = settings.load(file=arguments.config, flags=settings.flags_of(arguments))
    agent = Client(loaded.socket, timeout=PATIENCE)
    try:
        now = agent.policies()
        options = {option.name: option.value for option in agent.config().settings}
    except AbsentError as error:
        if loaded.policy is None:
            raise PolicyError(
                f"{error} Or name the directory of policies with --policy."
            ) from error
        return Where(loaded.policy, None, loaded)
    if now.directory is None:
        raise PolicyError(
            "The agent has no directory of policies: set policy to one, as in "
            "axon run --policy /etc/axon/policies, and restart it."
        )
    directory = Path(now.directory)
    if arguments.policy is not None and Path(arguments.policy).resolve() != directory:
        raise PolicyError(
            f"The agent has the policies of {directory} in force: leave --policy out, or name that."
        )
    # What the agent has room for is what counts, and not what this command line's settings say.
    theirs = {"policy_memory": options.get("policy_memory"), "policy_labels": now.labels or "off"}
    return Where(directory, agent, settings.load(file=arguments.config, flags=theirs))


def bring(place: Where, directory: Directory, changes: Sequence[Change]) -> Policies | None:
    """Make changes, in a directory that is locked, and have the agent take them up.

    Return what is in force, None without agent. Where the agent refuses, or somebody has enough of
    waiting, the files are as before. Raise PolicyError with the agent's reason.
    """
    import sys

    from axon.cli.policy.interrupting import undisturbed
    from axon.errors import ApiError, PolicyError

    try:
        directory.write(changes)
        if place.agent is None:
            return None
        now = place.agent.look()
        reason = _refusal(now, changes)
        if not reason:
            return now
        with undisturbed():
            _take_back(directory, changes, reason)
    except ApiError as error:
        raise PolicyError(
            f"{error} The files are written; axon policy list says what is in force."
        ) from error
    except KeyboardInterrupt:
        directory.undo(changes)
        print("axon: interrupted: the directory is as it was.", file=sys.stderr)
        raise
    place.agent.look()
    raise PolicyError(f"{reason}\nThe directory is as it was, and so is what is in force.")


def _take_back(directory: Directory, changes: Sequence[Change], reason: str) -> None:
    from axon.errors import PolicyError

    try:
        directory.undo(changes)
    except PolicyError as error:
        raise PolicyError(f"{reason}\n{error}") from error


def _refusal(now: Policies, changes: Sequence[Change]) -> str:
    """Return why changes are not in force; empty if they are."""
    digests = {(one.namespace, one.name): one.digest for one in now.policies}
    missing = [
        str(one.policy)
        for one in changes
        if digests.get(one.policy.key) != (None if one.after is None else one.policy.digest)
    ]
    if not now.problem and not missing:
        return ""
    return now.problem or f"The agent did not take up {', '.join(missing)}; its log may say why."


def tell(changes: Sequence[Change], now: Policies | None) -> int:
    """Print what was done and whether it is in force; return the exit status."""
    import sys

    for change in changes:
        how = (
            "no agent runs"
            if now is None
            else "not in force"
            if change.after is None
            else "in force"
        )
        print(f"{change.policy}: {change.what}, {how} ({change.file})")
    if now is None:
        print(
            "axon: no agent runs: these files are in force when one does (axon run --policy).",
            file=sys.stderr,
        )
        return NOT_SEEN
    if now.mode != "enforce":
        print(
            f"axon: the host is in mode {now.mode}, and nothing is denied; axon policy mode enforce "
            "ends that.",
            file=sys.stderr,
        )
    return 0
