"""The results as text: for the terminal, and as docs/kernels.md."""

from collections.abc import Callable, Mapping, Sequence

from tests.kernels.results import Group, Guest
from tests.kernels.table import Table

HEAD = """# Kernels

One compiled object runs on every kernel below: it is loaded, attached and counts real HTTP exactly
there, and what may not get past a policy does not. `make kernels` boots them in QEMU with this machine's
own user space and runs the live tests inside; it wrote this page.
{others}

5.15 and 6.6 are not in Debian's archives: 5.10, 6.1 and 6.12 stand on both sides of them. Of 6.19 to
7.1 the archives keep the kernels but no longer their modules, without which they cannot be booted.
A kernel of your own is a row of a table: see `tests/kernels/kernels.toml`.

A group's cell says how many of its tests passed and failed, and their seconds; a guest's own seconds are those
from its boot to its end, beside another guest.
"""

OTHERS = (
    "{kernel}, of another architecture than this machine, has a user space of Debian's packages"
    " ({suite}) instead,\nand runs the same files of tests."
)

APART = """## On this machine only

These files of live tests are run by no guest.
"""

WAYS = """Where a test of policies reaches its server over loopback and over a cable, by IPv4 and by IPv6, a guest
takes some of these four ways (127.0.0.1, ::1, cable4, cable6): {}."""

VERIFIER = """## What the verifier walks

Instructions that the kernel walks to prove each program safe; its limit is a million. Growth by more
than 10 % over `tests/kernels/baseline.json` fails. `make verify` prints the same, with states and
stack, for the kernel it is run on.
"""

TIMES = """## Time in BPF

Nanoseconds of each program's run while 240 requests are exchanged in pieces cut at random places, and
of all programs at both ends together for each of these requests.
The processor is emulated: the figures compare kernels with one another roughly, and are no
measure of what a request costs. `make bench` measures that.
"""

EACH = "each request"
Rows = Sequence[Sequence[str]]


def _markdown(head: Sequence[str], rows: Rows) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _columns(head: Sequence[str], rows: Rows) -> str:
    """A table for the terminal."""
    lines = [head, *rows]
    first, *others = (max(len(line[i]) for line in lines) for i in range(len(head)))
    return "".join(
        f"{line[0]:{first}}{''.join(f'  {cell:>{n}}' for cell, n in zip(line[1:], others, strict=True))}\n"
        for line in lines
    )


def text(guests: Sequence[Guest]) -> str:
    """The tables for the terminal, failures below them."""
    head = ["kernel", "tests", "passed", "failed", "seconds"]
    rows = []
    for guest in guests:
        title = guest.title
        for name, group in guest.groups.items():
            counts = (str(group.passed), str(group.failed), f"{group.seconds:.0f}")
            rows.append([title, name, *counts])
            title = ""
    tables = [_columns(head, rows)]
    plain = [guest for guest in guests if not guest.configuration]
    for title, found in (
        ("instructions that the verifier walks", _verified(plain)),
        ("ns of a run", _times(plain)),
    ):
        if found:
            plainly = [[name.strip("`"), *numbers] for name, *numbers in found]
            tables.append(_columns([title, *(guest.kernel for guest in plain)], plainly))
    failures = [
        f"{guest.title}: {test}\n{message}" for guest in guests for test, message in guest.failures
    ]
    return "\n".join(tables + failures)


def page(guests: Sequence[Guest], table: Table) -> str:
    """docs/kernels.md."""
    plain = [guest for guest in guests if not guest.configuration]
    programs = ["program", *(guest.kernel for guest in plain)]
    return "\n".join(
        [
            HEAD.format(others=_others(table)),
            _kernels(plain, table),
            "## Configurations\n",
            _configurations(guests, table),
            "## Left out\n",
            f"{WAYS.format(_ways(table))}\n",
            _markdown(
                ["test", "kernels", "why"],
                [
                    [f"`{unfit.test}`", ", ".join(unfit.kernels) or "all", unfit.reason]
                    for unfit in table.unfit
                ],
            ),
            APART,
            _markdown(
                ["files", "why"],
                [
                    [", ".join(f"`{file}`" for file in apart.files), apart.reason]
                    for apart in table.apart
                ],
            ),
            VERIFIER,
            _markdown(programs, _verified(plain)),
            TIMES,
            _markdown(programs, _times(plain)),
        ]
    )


def seconds(written: str) -> dict[str, float]:
    """How long each guest took by a page that was written, by what tells it from others."""
    found, head = {}, [""]
    for line in written.splitlines():
        cells = line.strip("| ").split(" | ")
        if not line.startswith("|"):
            head = [""]
        elif head == [""]:
            head = cells
        elif "seconds" in head and cells[0] != "---":
            row = dict(zip(head, cells, strict=True))
            guest = Guest(row["kernel"], "", row.get("configuration", ""))
            found[guest.title] = float(row["seconds"])
    return found


def _others(table: Table) -> str:
    return "\n".join(
        OTHERS.format(kernel=row.name, suite=table.userspaces[row.userspace].suites[0])
        for row in table.rows
        if row.userspace
    )


def _ways(table: Table) -> str:
    kernels: dict[str, list[str]] = {}
    for row in table.rows:
        kernels.setdefault(" and ".join(table.ways_of(row)), []).append(row.name)
    if len(kernels) == 1:
        return next(iter(kernels))
    return "; ".join(f"{ways} on {', '.join(names)}" for ways, names in kernels.items())


def _kernels(guests: Sequence[Guest], table: Table) -> str:
    reasons = {row.name: row.reason for row in table.rows}
    groups = [name for name in table.tests if any(name in guest.groups for guest in guests)]
    groups += sorted({name for guest in guests for name in guest.groups} - set(groups))
    return _markdown(
        ["kernel", "release", *groups, "passed", "failed", "seconds", "why it is here"],
        [
            [
                guest.kernel,
                guest.release,
                *(_cell(guest.groups.get(name)) for name in groups),
                *_sums(guest),
                reasons[guest.kernel],
            ]
            for guest in guests
        ],
    )


def _configurations(guests: Sequence[Guest], table: Table) -> str:
    return _markdown(
        ["configuration", "kernel", "tests", "passed", "failed", "seconds", "why it is here"],
        [
            [
                configuration.name,
                guest.kernel,
                "; ".join(f"{name}: {_cell(group)}" for name, group in guest.groups.items()),
                *_sums(guest),
                configuration.reason,
            ]
            for configuration in table.configurations
            for guest in guests
            if guest.configuration == configuration.name
        ],
    )


def _cell(group: Group | None) -> str:
    return f"{group.passed}/{group.failed}, {group.seconds:.0f} s" if group else "-"


def _sums(guest: Guest) -> list[str]:
    groups = guest.groups.values()
    passed, failed = sum(group.passed for group in groups), sum(group.failed for group in groups)
    return [str(passed), str(failed), f"{guest.seconds:.0f}"]


def _verified(guests: Sequence[Guest]) -> list[list[str]]:
    return _programs(guests, lambda guest: guest.verified)


def _times(guests: Sequence[Guest]) -> list[list[str]]:
    """What a run of each program takes, and what a request does."""
    rows = _programs(guests, lambda guest: guest.ns_per_run)
    if any(guest.ns_per_request for guest in guests):
        taken = (guest.ns_per_request for guest in guests)
        rows.append([EACH, *(f"{ns:,.0f}" if ns else "-" for ns in taken)])
    return rows


def _programs(
    guests: Sequence[Guest], of: Callable[[Guest], Mapping[str, float]]
) -> list[list[str]]:
    numbers = [of(guest) for guest in guests]
    return [
        [f"`{name}`", *(f"{row[name]:,.0f}" if name in row else "-" for row in numbers)]
        for name in dict.fromkeys(name for row in numbers for name in row)
    ]
