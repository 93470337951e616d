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
PAGE = ROOT / "docs" / "bench.md"
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
        """Return the table as a section of a page, with today's date."""
        lines = [
            f"## {self.title}",
            "",
            f"`{self.command}`, {dt.datetime.now(tz=dt.UTC):%Y-%m-%d}",
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
        f"{f' ({cpu[1]})' if cpu else ''}"
    )


def is_of_this_machine() -> bool:
    """Return whether what stands in docs/bench.md was measured on a machine like this one."""
    return f" on {machine()}." in PAGE.read_text(encoding="utf-8")


def write(tables: Sequence[Table], *, whole: bool) -> None:
    """Write docs/bench.md and the README's part; what was not measured now stays, unless this is the whole."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    sections = {} if whole else _sections(PAGE.read_text(encoding="utf-8"))
    rows = {} if whole else _rows(text)
    for table in tables:
        sections[table.title] = table.markdown()
        rows.update(table.brief)
    page = [
        "# What it costs\n",
        f"Printed by `make bench` on {machine()}. Ratios are within one run, interleaved; a virtual",
        "machine's absolute figures differ from yours. nginx has one worker on a core of its own, the load generator "
        "another.\n",
        *sections.values(),
    ]
    PAGE.write_text("\n".join(page), encoding="utf-8")
    body = "\n".join([_row(["", "measured"]), _row(["---", "---"]), *map(_row, rows.items())])
    body += f"\n\nOn {machine()}; all of it, with the commands and their dates, in [docs/bench.md](docs/bench.md).\n"
    readme.write_text(_PART.sub(lambda m: m[1] + body + m[2], text), encoding="utf-8")


def _sections(page: str) -> dict[str, str]:
    """Return a page's sections by their titles."""
    parts = re.split(r"^(?=## )", page, flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0].removeprefix("## "): part.rstrip("\n") + "\n" for part in parts}


def _rows(readme: str) -> dict[str, str]:
    """Return the figures of the README's part."""
    part = _PART.search(readme)
    lines = part[0].splitlines() if part else []
    cells = [
        line.strip("| ").split(" | ")
        for line in lines
        if line.startswith("| ") and "---" not in line
    ]
    return {row[0]: row[1] for row in cells if len(row) == 2}
