"""Allowed requests, a connection each, on the oldest kernel: emulated there, so only ratios mean something.

Run as a program, inside: measures, and prints the rows as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from statistics import median

from bench.load import Asked, Way
from bench.policy.allowed import BARE, BASES, CONTROL, JUDGED, PORTS, SEEN, SEEN_AGAIN, block
from bench.policy.world import scene
from bench.report import ROOT, Table, spread
from bench.world import BenchError

KERNEL = "5.10"
_NAMES = (BARE, CONTROL, SEEN, SEEN_AGAIN, JUDGED)
_WAYS = {
    "keep-alive": Way(connections=32, turn_ms=500, warm_ms=50),
    "a connection each": Way(connections=32, close=True, turn_ms=500, warm_ms=50),
}
_BLOCKS = 6
_SECONDS = 15.0


def measure() -> Table:
    """Boot the kernel, as `make kernels` does, and measure in it."""
    table = Table(
        f"Allowed requests on Linux {KERNEL}, with a policy", "make bench BENCH=policy",
        ["", "requests a second, emulated", "of nginx alone", f"of {SEEN}"],
    )  # fmt: skip
    command = [sys.executable, "-m", "bench.policy.elsewhere"]
    try:
        said = subprocess.run(
            [sys.executable, "-m", "tests.kernels", "-k", KERNEL, "--memory", "4096", "--", *command],
            check=True, capture_output=True, text=True, cwd=ROOT,
        ).stdout  # fmt: skip
    except subprocess.CalledProcessError as error:
        raise BenchError(
            f"on Linux {KERNEL}, which needs what `make kernels K={KERNEL}` installs: {error.stderr[-2000:]}"
        ) from None
    table.rows += json.loads(said.splitlines()[-1])
    table.notes.append(
        f"Medians and quartiles of {_BLOCKS} blocks of {_SECONDS:g} s, over loopback, in which all take turns of half a second. "
        "The processor is emulated, where a hash or a copy has another price than a system call: the ratios say "
        "that nothing is out of the order on this kernel, not what it costs on a machine."
    )
    return table


def rows() -> list[Sequence[str]]:
    """Measure here."""
    out: list[Sequence[str]] = []
    with scene(PORTS[JUDGED]) as here:
        for kind, way in _WAYS.items():
            found = [block(here, "loopback", way, _SECONDS, _NAMES) for _ in range(_BLOCKS)]
            out += [[f"{kind}: {name}", *_cells(name, found)] for name in _NAMES]
    return out


def _cells(name: str, found: Sequence[dict[str, Asked]]) -> list[str]:
    def of(other: str) -> str:
        return "" if name == other else spread([b[name].rate / b[other].rate for b in found])

    return [
        f"{median(b[name].rate for b in found):,.0f}",
        of(BARE),
        of(SEEN) if BASES[name] == SEEN else "",
    ]


if __name__ == "__main__":
    print(json.dumps(rows()))
