"""`axon completion`.

Put the script where your shell looks for it:

  bash   axon completion bash > /etc/bash_completion.d/axon
  zsh    axon completion zsh > "${fpath[1]}/_axon"
  fish   axon completion fish > ~/.config/fish/completions/axon.fish
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from axon.api.filters import METHODS, ROLES
from axon.cli.parser import for_all
from axon.errors import AxonError

SHELLS: Final = ("bash", "zsh", "fish")
_PATHS: Final = ("FILE", "PATH")
_WORDS: Final = {"method": METHODS, "role": ROLES}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.usage = "axon completion [bash|zsh|fish]"
    parser.add_argument(
        "shell", nargs="?", choices=SHELLS, metavar="SHELL", help="default: the shell you use"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    shell = arguments.shell or Path(os.environ.get("SHELL", "")).name
    if shell not in SHELLS:
        raise AxonError(
            f"your shell is not known here; name it: axon completion {'|'.join(SHELLS)}"
        )
    print(shtab.complete(_enriched(for_all()), shell))
    return 0


def _enriched(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Say of each option what a shell can offer for it: paths, or one of a few words."""
    import shtab

    for action in _actions(parser):
        words = _WORDS.get(action.dest) or tuple(str(action.metavar or "").split("|"))
        if action.metavar in _PATHS:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif len(words) > 1 and not action.choices:
            action.choices = words
    return parser


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the options of a parser and of its verbs."""
    # argparse has no public way to ask a parser what it takes.
    for action in parser._actions:  # noqa: SLF001
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for verb in action.choices.values():
                yield from _actions(verb)
