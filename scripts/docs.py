"""Write the generated parts of the documentation, or say which are not current (`--check`).

A page holds a generated part between `<!-- make docs: NAME -->` and `<!-- end -->`; everything else on
it is written by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from axon import settings
from axon.api import openapi
from axon.cli.parser import for_verb
from axon.cli.verbs import VERBS
from scripts import metrics

ROOT = Path(__file__).resolve().parent.parent
_PART = re.compile(r"(<!-- make docs: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


class Reason(NamedTuple):
    """One counter of the contract's list: `LOST_GAP`, and its comment."""

    name: str
    text: str


def reasons() -> list[Reason]:
    """The counters of `enum ax_stat` in bpf/axon.h, in its order; raises ValueError if one has no comment."""
    return _commented("axon.h", "ax_stat", {"STAT_MAX"})


def denials() -> list[Reason]:
    """The reasons of `enum ax_deny` in bpf/axon_policy.h, without `AX_DENY_`; as `reasons`."""
    return [
        Reason(reason.name.removeprefix("DENY_"), reason.text)
        for reason in _commented("axon_policy.h", "ax_deny", {"DENY_NONE", "DENY_MAX"})
    ]


def _commented(header: str, enum: str, but: set[str]) -> list[Reason]:
    contract = (ROOT / "bpf" / header).read_text(encoding="utf-8")
    body = contract.split(f"enum {enum} {{", 1)[1].split("};", 1)[0]
    found = []
    for line in body.splitlines():
        entry = re.match(r"\s*AX_(\w+)\b[^,]*,\s*(?:/\*\s*(.*?)\s*\*/)?", line)
        if entry is None or entry[1] in but:
            continue
        if not entry[2]:
            raise ValueError(f"AX_{entry[1]} has no comment in bpf/{header}")
        found.append(Reason(entry[1], entry[2]))
    return found


_FAMILIES = {
    "CONN_": ("Connections by what they carry", "axon_connections_total{kind}"),
    "LOST_": (
        "Requests, or the position in a stream, that could not be followed",
        "axon_lost_total{reason}",
    ),
    "DROP_FLOW_": (
        "Flow records that were not written; the requests themselves are counted",
        "axon_flow_records_dropped_total{reason}",
    ),
    "INFO_": ("Events that lose nothing", "axon_events_total{event}"),
}


def _reasons() -> str:
    parts = []
    for prefix, (title, metric) in _FAMILIES.items():
        label = metric.partition("{")[2].rstrip("}")
        parts += [f"## {title}", "", f"`{metric}`", "", f"| {label} | what happened |", "|---|---|"]
        parts += [
            f"| `{reason.name.removeprefix(prefix).lower()}` | {reason.text} |"
            for reason in reasons()
            if reason.name.startswith(prefix)
        ]
        parts.append("")
    return "\n".join(parts)


def _denials() -> str:
    rows = ["| reason | what happened |", "|---|---|"]
    return "\n".join([*rows, *(f"| `{one.name.lower()}` | {one.text} |" for one in denials())])


def _api() -> str:
    rows = ["| request | what it gives | parameters |", "|---|---|---|"]
    for path, operations in openapi.build()["paths"].items():
        for method, operation in operations.items():
            parameters = [f"`{p['name']}`" for p in operation.get("parameters", [])]
            rows.append(
                f"| `{method.upper()} {path}` | {operation['summary']} | {' '.join(parameters)} |"
            )
    return "\n".join(rows)


def _option(action: argparse.Action) -> str:
    """One row of a verb's table: how it is written and what it does."""
    value = (
        action.metavar
        or (action.choices and "|".join(map(str, action.choices)))
        or action.dest.upper()
    )
    takes = action.nargs != 0 and not isinstance(action, argparse.BooleanOptionalAction)
    names = [f"{name} {value}" if takes else name for name in action.option_strings] or [str(value)]
    written = " ".join(f"`{name}`" for name in names)
    text = (action.help or "") % {"default": action.default, "prog": "axon"}
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in (written, text)) + " |"


def parsers(verb: str) -> dict[str, argparse.ArgumentParser]:
    """The parser of a verb, and those of the verbs below it, by what is typed behind `axon`."""
    parser = for_verb(verb)
    found = {verb: parser}
    # argparse has no public way to ask a parser what it takes.
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            found |= {f"{verb} {name}": below for name, below in action.choices.items()}
    return found


def options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The options and arguments of a verb that are its own, and not settings that every agent has."""
    of_settings = {setting.flag for setting in settings.table().values()}
    return [
        action
        for action in parser._actions  # noqa: SLF001 - see above
        if action.dest != "help"
        and not isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
        and not of_settings.intersection(action.option_strings)
    ]


def _commands() -> str:
    parts = []
    for name, parser in (pair for verb in VERBS for pair in parsers(verb).items()):
        description = (parser.description or "").split("\n\n", 1)
        parts += [f"## axon {name}", "", description[0], ""]
        if len(description) > 1:
            parts += ["```", description[1].rstrip(), "```", ""]
        if rows := [_option(action) for action in options(parser)]:
            parts += ["| option | what it does |", "|---|---|", *rows, ""]
        of_settings = [s.flag for s in settings.table().values() if s.flag in parser.format_help()]
        if len(of_settings) == len(settings.table()):
            parts += ["It takes the flag of every [setting](settings.md) too.", ""]
        elif of_settings:
            flags = ", ".join(f"`{flag}`" for flag in of_settings)
            parts += [f"Of the [settings](settings.md) it takes {flags}.", ""]
    return "\n".join(parts)


def _metrics() -> str:
    usual, legacy = metrics.of_requests()
    names = [reason.name.lower() for reason in reasons()]
    return "\n".join(
        [
            "## Requests",
            "",
            *metrics.table(usual),
            "",
            "## Requests, by the names of `legacy_metrics`",
            "",
            *metrics.table(legacy),
            "",
            "## Axon itself",
            "",
            *metrics.table(metrics.of_axon(names)),
            "",
            "## Policies",
            "",
            *metrics.table(metrics.of_policies([reason.name.lower() for reason in denials()])),
        ]
    )


PARTS: dict[str, Callable[[], str]] = {
    "api": _api,
    "commands": _commands,
    "denials": _denials,
    "metrics": _metrics,
    "reasons": _reasons,
    "settings": settings.markdown,
}


def fill(page: str) -> str:
    """The text of a page with its generated parts as they should be."""
    return _PART.sub(lambda part: f"{part[1]}{PARTS[part[2]]().strip()}\n{part[3]}", page)


def main() -> int:
    """Write or check every page; the exit status is 1 when a check finds one that is not current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="change nothing, fail if a page is not current"
    )
    check = parser.parse_args().check
    stale = []
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]):
        page = path.read_text(encoding="utf-8")
        want = fill(page)
        if want == page:
            continue
        stale.append(path.relative_to(ROOT))
        if not check:
            path.write_text(want, encoding="utf-8")
    for path in stale:
        print(f"{path}: {'not current, run make docs' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
