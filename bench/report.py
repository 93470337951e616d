"""Tables of figures: printed as they come, and written as the page docs/bench.md and the README's part."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).resolve().parent.parent
_PART = re.compile(r"(<!-- make bench -->\n).*?(<!-- end -->)", re.DOTALL)


@dataclass
class Table:
    """One measurement: a title, the command that makes it, what was measured, and what it teaches."""

    title: str
    command: str
    head: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    brief: list[tuple[str, str]] = field(default_factory=list)  # for the README: what, figure

    def markdown(self) -> str:
        """Return the table as a section of a page."""
        lines = [
            f"## {self.title}",
            "",
            f"`{self.command}`",
            "",
            _row(self.head),
            _row(["---"] * len(self.head)),
        ]
        lines += [_row(r) for r in self.rows]
        for note in self.notes:
            lines += ["", note]
        return "\n".join(lines) + "\n"


def spread(values: Sequence[float]) -> str:
    """Return median and quartiles of ratios as percentages."""
    low, _, high = quantiles(values, n=4)
    return f"{median(values) * 100:.1f} % ({low * 100:.1f} to {high * 100:.1f})"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def machine() -> str:
    """Return one line on what was measured on."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return (
        f"Linux {platform.release()} {platform.machine()}, {os.cpu_count()} CPUs"
        f"{f' ({cpu[1]})' if cpu else ''}, {dt.datetime.now(tz=dt.UTC):%Y-%m-%d}"
    )


def write(tables: Sequence[Table]) -> None:
    """Write docs/bench.md and the README's part."""
    where = machine()
    page = [
        "# What it costs\n",
        f"Printed by `make bench` on {where}. Ratios are within one run, interleaved; a virtual machine's",
        "absolute figures differ from yours. nginx has one worker on a core of its own, the load generator another.\n",
        *[t.markdown() for t in tables],
    ]
    (ROOT / "docs" / "bench.md").write_text("\n".join(page), encoding="utf-8")
    brief = [b for t in tables for b in t.brief]
    if not brief:
        return
    body = "\n".join([_row(["", "measured"]), _row(["---", "---"]), *[_row(b) for b in brief]])
    body += f"\n\nOn {where}; all of it, with the commands, in [docs/bench.md](docs/bench.md).\n"
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(_PART.sub(lambda m: m[1] + body + m[2], text), encoding="utf-8")
