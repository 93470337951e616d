"""The results as text: for the terminal, and as docs/kernels.md."""

from collections.abc import Sequence

from tests.kernels.results import Guest
from tests.kernels.table import Table

HEAD = """# Kernels

One compiled object runs on every kernel below: it is loaded, attached and counts real HTTP exactly
there, and what may not get past a policy does not. `make kernels` boots them in QEMU with this machine's
own user space and runs the live tests inside; it wrote this page.

5.15 and 6.6 are not in Debian's archives: 5.10, 6.1 and 6.12 stand on both sides of them. Of 6.19 to
7.1 the archives keep the kernels but no longer their modules, without which they cannot be booted.
A kernel of your own is a row of a table: see `tests/kernels/kernels.toml`.
"""

WAYS = """Where a test of policies reaches its server over loopback and over a cable, by IPv4 and by IPv6, a guest
takes two of the four ways: {}."""

VERIFIER = """## What the verifier walks

Instructions that the kernel walks to prove each program safe; its limit is a million. Growth by more
than 10 % over `tests/kernels/baseline.json` fails. `make verify` prints the same, with states and
stack, for the kernel it is run on.
"""

TIMES = """## Time in BPF

Nanoseconds of each program's run while 240 requests are exchanged in pieces cut at random places.
The processor is emulated: the figures compare kernels with one another roughly, and are no
measure of what a request costs. `make bench` measures that.
"""


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def text(guests: Sequence[Guest]) -> str:
    """The table for the terminal, failures below it."""
    lines = [f"{'kernel':34} {'tests':14} {'passed':>6} {'failed':>6} {'seconds':>7}"]
    for guest in guests:
        title = guest.title
        for name, group in guest.groups.items():
            lines.append(
                f"{title:34} {name:14} {group.passed:6} {group.failed:6} {group.seconds:7.0f}"
            )
            title = ""
    lines += [
        f"\n{guest.title}: {test}\n{message}"
        for guest in guests
        for test, message in guest.failures
    ]
    return "\n".join(lines)


def page(guests: Sequence[Guest], table: Table) -> str:
    """docs/kernels.md."""
    reasons = {row.name: row.reason for row in table.rows}
    plain = [guest for guest in guests if not guest.configuration]
    return "\n".join(
        [
            HEAD,
            _markdown(
                ["kernel", "release", "passed", "failed", "seconds", "why it is here"],
                [[*_cells(guest), reasons[guest.kernel]] for guest in plain],
            ),
            "## Configurations\n",
            _markdown(
                [
                    "configuration",
                    "kernel",
                    "passed",
                    "failed",
                    "seconds",
                    "why it is here",
                ],
                [
                    [configuration.name, guest.kernel, *_cells(guest)[2:], configuration.reason]
                    for configuration in table.configurations
                    for guest in guests
                    if guest.configuration == configuration.name
                ],
            ),
            "## Left out\n",
            f"{WAYS.format(' and '.join(table.ways))}\n",
            _markdown(
                ["test", "kernels", "why"],
                [
                    [f"`{unfit.test}`", ", ".join(unfit.kernels) or "all", unfit.reason]
                    for unfit in table.unfit
                ],
            ),
            VERIFIER,
            _programs(plain, {guest.kernel: guest.verified for guest in plain}),
            TIMES,
            _programs(plain, {guest.kernel: guest.ns_per_run for guest in plain}),
        ]
    )


def _cells(guest: Guest) -> list[str]:
    groups = guest.groups.values()
    return [
        guest.kernel,
        guest.release,
        str(sum(group.passed for group in groups)),
        str(sum(group.failed for group in groups)),
        f"{guest.seconds:.0f}",
    ]


def _programs(
    guests: Sequence[Guest], numbers: dict[str, dict[str, int]] | dict[str, dict[str, float]]
) -> str:
    programs = list(dict.fromkeys(name for row in numbers.values() for name in row))
    return _markdown(
        ["program", *(guest.kernel for guest in guests)],
        [
            [
                f"`{program}`",
                *(
                    f"{numbers[guest.kernel][program]:,.0f}"
                    if program in numbers[guest.kernel]
                    else "-"
                    for guest in guests
                ),
            ]
            for program in programs
        ],
    )
