"""Runs in a guest: the programs are accepted by this kernel and count exactly."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from axon.kernel.object import packaged
from tests.kernels import verify

OUT = Path(os.environ["AXON_KERNELS_OUT"])


def test_programs_are_accepted() -> None:
    """The verifier takes every program of the object, with room for what is to come."""
    verdicts = verify.verify(packaged())
    (OUT / "verify.json").write_text(json.dumps([asdict(verdict) for verdict in verdicts]))
    print(verify.table(verdicts, details=True))
    assert {v.program: v.refused for v in verdicts if v.refused} == {}
    assert max(v.verified for v in verdicts) < verify.MOST_INSNS


def test_exchange_is_exact() -> None:
    """Every request and every byte of a body is counted, on both sides, and nothing is lost."""
    line = [sys.executable, "-m", "tests.kernels.exchange", "--rounds", "20"]
    assert subprocess.run([*line, "--json", OUT / "exchange.json"], check=False).returncode == 0
