"""The command line. Each verb is a module of this package with `add_arguments` and `run`.

What a verb does not need is not imported, so that `axon version` takes a tenth of a second.

Exit status: 0 done; 1 it could not be done, and the message says what to do next; 2 the command line
cannot be understood; 130 ended by Ctrl-C where that is not the usual way to end; 141 the reader of
the output went away.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from axon.cli.verbs import VERBS
from axon.errors import AxonError

FAILED: Final = 1
MISUSED: Final = 2
INTERRUPTED: Final = 130
READER_GONE: Final = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        status = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except AxonError as error:
        print(f"axon: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # What is still buffered would raise again when the interpreter flushes it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    return status


def _run(argv: list[str]) -> int:
    if argv[:1] == ["help"] and len(argv) > 1:
        argv = [argv[1], "--help"]
    match argv[:1]:
        case [] | ["help"] | ["-h"] | ["--help"]:
            print(overview())
            return 0
        case ["--version" | "-V"]:
            argv = ["version"]
        case [word] if word not in VERBS:
            return _misused(word)
    from axon.cli import parser

    verb = parser.module(argv[0])
    arguments = parser.for_verb(argv[0]).parse_args(argv[1:])
    return verb.run(arguments)


def overview() -> str:
    """Return what `axon` alone prints."""
    lines = [
        "Axon sees every HTTP request on this host: exact, live, from the kernel.",
        "",
        "usage: axon VERB [OPTION]...",
        "",
    ]
    lines += [f"  {name:<12}{text}" for name, text in VERBS.items()]
    lines += ["", "axon VERB --help says more."]
    return "\n".join(lines)


def _misused(word: str) -> int:
    import difflib

    close = difflib.get_close_matches(word, VERBS, n=1)
    hint = f"; did you mean {close[0]}?" if close else "; axon alone lists the verbs"
    print(f"axon: there is no verb {word!r}{hint}", file=sys.stderr)
    return MISUSED
