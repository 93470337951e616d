"""A coverage-guided search over packets, for a while; CONTRIBUTING says how to search for longer."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.native import search
from tests.native.scale import SCALE

_SECONDS = 20
_RUNS = 30_000
# Behind these lie the ways that only scripts of more than one packet find.
_REACHED = {
    "ax_adopt", "ax_chunk_size", "ax_decide", "ax_drain_next", "ax_head_end", "ax_keep_early", "ax_listener",
    "ax_move_on", "ax_rewind", "ax_settle", "ax_settle_ops", "ax_snapshot", "ax_status_line", "ax_tell_of",
}  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the search printed. It fails with the input that broke something, and how to replay it."""
    command = search.command(
        tmp_path_factory.mktemp("fuzz"),
        f"-runs={int(_RUNS * SCALE)}",
        f"-max_total_time={int(_SECONDS * SCALE)}",
        "-seed=1",
        "-print_coverage=1",
        "-print_final_stats=1",
    )
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        env=search.environment(),
    )
    if done.returncode:
        replay = "python -m tests.native.search FILE, with the file named above, replays it"
        pytest.fail(f"{done.stderr[-6000:]}\n{replay}")
    return done.stderr


def test_nothing_breaks_whatever_packets_come(report: str) -> None:
    """No script breaks a bound or the books, and streams are read alike whole and in pieces."""
    assert re.search(r"Done \d+ runs", report), report[-2000:]


def test_the_search_is_guided(report: str) -> None:
    """It finds ways that the seeds do not go, and every part of the machine is among them."""
    begun = re.search(r"INITED cov: (\d+)", report)
    ended = re.search(r"DONE +cov: (\d+)", report)
    added = re.search(r"stat::new_units_added: +(\d+)", report)
    assert begun
    assert ended
    assert added
    assert int(begun[1]) > 500
    assert int(ended[1]) > int(begun[1]) + 50
    assert int(added[1]) > 100
    reached = set(re.findall(r"^COVERED_FUNC: .* (\w+) ", report, re.MULTILINE))
    assert reached >= _REACHED, _REACHED - reached
