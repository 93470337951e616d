"""`axon completion`.

Put the script where your shell looks for it:

  bash   axon completion bash > /etc/bash_completion.d/axon
  zsh    axon completion zsh > "${fpath[1]}/_axon"
  fish   axon completion fish > ~/.config/fish/completions/axon.fish
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Final

from axon.cli.parser import for_all
from axon.errors import AxonError

SHELLS: Final = ("bash", "zsh", "fish")


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
    print(shtab.complete(for_all(), shell))
    return 0
