"""The stack that the verifier of Linux 5.10 will find, computed without it."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

OBJECT = Path(__file__).resolve().parents[2] / "src" / "axon" / "kernel" / "axon.bpf.o"
MAX_STACK = 512  # MAX_BPF_STACK, include/linux/filter.h
MAX_FRAMES = 8  # MAX_CALL_FRAMES, include/linux/bpf_verifier.h
FRAME_UNIT = 32  # check_max_stack_depth() rounds every frame up to this (to 16 from 6.8 on)


class Calls:
    """Frames and calls of a compiled object, read off its disassembly."""

    def __init__(self, listing: str) -> None:
        self.stack: dict[str, int] = {}
        self.callees: dict[str, set[str]] = {}
        current, copy = "", ""
        for line in listing.splitlines():
            if m := re.match(r"^[0-9a-f]+ <(\w+)>:", line):
                current = m[1]
                self.stack[current], self.callees[current] = 0, set()
            elif m := re.search(r"\(r10 - (0x[0-9a-f]+)\)", line):
                self._deepen(current, m[1])
            elif m := re.search(r"(r\d) = r10$", line):
                copy = m[1]
            elif (m := re.search(r"(r\d) \+= -(0x[0-9a-f]+)$", line)) and m[1] == copy:
                self._deepen(current, m[2])
                copy = ""
            elif m := re.search(r"(?:R_BPF_64_32\s+|call \S+ <)(\w+)", line):
                self.callees[current].add(m[1])

    def _deepen(self, name: str, offset: str) -> None:
        self.stack[name] = max(self.stack[name], int(offset, 16))

    def chains(self, start: str) -> tuple[int, int, str]:
        """The deepest stack below `start` in bytes, the most frames, and the chain of the first."""

        @cache
        def below(name: str) -> tuple[int, int, str]:
            known = [below(c) for c in self.callees[name] if c in self.stack and c != name]
            unit = max(1, -(-self.stack[name] // FRAME_UNIT)) * FRAME_UNIT
            deepest = max(known, default=(0, 0, ""))
            return (
                unit + deepest[0],
                1 + max((k[1] for k in known), default=0),
                f"{name} ({unit}) {deepest[2]}",
            )

        return below(start)


@pytest.fixture(scope="module")
def calls() -> Calls:
    """The object's frames and calls."""
    tool = next(
        (t for t in ("llvm-objdump-19", "llvm-objdump-18", "llvm-objdump") if shutil.which(t)), None
    )
    assert tool, "llvm-objdump is missing: apt-get install llvm-19 (or run make setup)"
    listing = subprocess.run(
        [tool, "-dr", "--no-show-raw-insn", str(OBJECT)], check=True, capture_output=True, text=True
    ).stdout
    return Calls(listing)


@pytest.mark.parametrize(
    "program", ["ax_ingress", "ax_egress", "ax_sockops", "ax_release", "ax_connect4", "ax_bind4"]
)
def test_every_chain_of_calls_fits_the_stack_of_old_kernels(calls: Calls, program: str) -> None:
    """No chain of functions takes more stack, or more frames, than the oldest kernel's verifier allows."""
    stack, frames, chain = calls.chains(program)
    assert stack <= MAX_STACK, chain
    assert frames <= MAX_FRAMES, chain


def test_the_computation_sees_frames(calls: Calls) -> None:
    """The listing was understood: the packet programs have frames and call the parser."""
    stack, frames, chain = calls.chains("ax_ingress")
    assert stack > 200
    assert frames >= 6
    assert "ax_read_on" in chain
