"""`axon doctor`.

Everything is found by trying, nothing by the kernel's version, and nothing is left behind. The exit
status is 1 when Axon could not run here. Without root much cannot be tried.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from axon.cli.parser import add_config, add_output

if TYPE_CHECKING:
    from axon.cli.unseen import Unseen
    from axon.kernel import Features
    from axon.settings import Settings

_STATES: Final = {
    "ok": ("ok", ""),
    "degraded": ("limited", "33"),
    "missing": ("missing", "31"),
    "untried": ("?", ""),
}
_HERE: Final = {"here": ("here", "33"), "absent": ("no", "2"), "unknown": ("?", "")}
_INDENT: Final = 28
_WITHOUT_FIRST: Final = (
    "policies may not judge what passes there, and what arrives unjudged for a workload with policies is "
    "dropped, and its connection ended"
)
_FIRST: Final = "Give it a priority of 2 or more, or end it; `tc filter show dev INTERFACE ingress` and `bpftool net` show it."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    from axon import settings

    add_output(parser, "text", "json")
    add_config(parser)
    settings.add_flags(parser.add_argument_group("settings"), {"pin_dir", "run_dir", "cgroup"})


def run(arguments: argparse.Namespace) -> int:
    """Look, and print what was found."""
    from axon import settings
    from axon.cli import unseen
    from axon.kernel import probe

    loaded = settings.load(file=arguments.config, flags=settings.flags_of(arguments))
    features = _with_places(probe(loaded))
    missing = unseen.look(counters=_counters(loaded), sockmaps=_sockmaps())
    if arguments.output == "json":
        print(_json(features, missing))
    else:
        print("\n".join(_text(features, missing, colours=sys.stdout.isatty())))
    return 0 if features.ok else 1


def _with_places(features: Features) -> Features:
    """Return the rows, and one that says whether the first place is ours where requests would be judged."""
    from axon.agent.points import taken
    from axon.kernel import Feature, Features

    name = "first in place"
    if features["privileges"].state != "ok":
        row = Feature(name, "untried", "cannot be tried without root")
    else:
        try:
            others, remedy = "; ".join(taken()), _FIRST
        except OSError as e:
            others, remedy = e.strerror or str(e), ""
        row = (
            Feature(name, "degraded", f"{others}: {_WITHOUT_FIRST}", remedy)
            if others
            else Feature(name, "ok", "no program of others comes before ours on any interface")
        )
    at = [one.name for one in features].index("filters (tc)") + 1
    return Features((*features.rows[:at], row, *features.rows[at:]))


def _counters(loaded: Settings) -> Mapping[str, int] | None:
    """Return a running agent's counters, or None where none answers."""
    from axon.api.client import Client
    from axon.errors import ApiError

    try:
        return Client(loaded.socket, timeout=2.0).status().counters
    except ApiError:
        return None


def _sockmaps() -> Collection[str] | None:
    """Return the names of the kernel's maps that redirect sockets, or None if it may not be asked."""
    from axon.errors import KernelError
    from axon.kernel import bpf

    try:
        return bpf.maps_of(bpf.MAP_SOCKMAP, bpf.MAP_SOCKHASH)
    except (OSError, KernelError):
        return None


def _json(features: Features, missing: Sequence[Unseen]) -> str:
    import dataclasses
    import json

    return json.dumps(
        {
            "ok": features.ok,
            "features": [dataclasses.asdict(row) for row in features],
            "not_seen": [dataclasses.asdict(row) for row in missing],
        },
        indent=2,
    )


def _text(features: Features, missing: Sequence[Unseen], *, colours: bool) -> Iterator[str]:
    limited = any(row.state == "degraded" for row in features)
    yield (
        "Axon cannot run here."
        if not features.ok
        else "Axon can run here, with limits."
        if limited
        else "Axon can run here."
    )
    yield ""
    yield from _rows(
        ((*_STATES[row.state], row.name, row.detail, row.remedy) for row in features),
        colours=colours,
    )
    yield ""
    yield "What is not seen or not read, and whether it is on this host:"
    yield ""
    yield from _rows(
        ((*_HERE[row.here], row.name, row.detail, "") for row in missing), colours=colours
    )


def _rows(rows: Iterable[tuple[str, str, str, str, str]], *, colours: bool) -> Iterator[str]:
    """Yield a line a row, and below it the remedy where there is one that was not just said."""
    said = ""
    for state, code, name, detail, remedy in rows:
        mark = f"{state:<8}"
        if colours and code:
            mark = f"\x1b[{code}m{mark}\x1b[0m"
        texts = [detail, remedy] if remedy != said else [detail]
        first, *others = (line for text in texts for line in _wrap(text))
        yield f"  {mark} {name:<16} {first}"
        yield from (" " * _INDENT + line for line in others)
        said = remedy


def _wrap(text: str) -> list[str]:
    """Return a text in lines that fit the terminal beside the names; in one where there is none."""
    if not sys.stdout.isatty():
        return [text] if text else []
    return textwrap.wrap(text, max(20, shutil.get_terminal_size().columns - _INDENT - 1))
