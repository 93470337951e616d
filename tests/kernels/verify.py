"""`make verify`: what this kernel's verifier makes of each program of the compiled object.

The counts are the verifier's own (BPF_LOG_STATS, Linux 5.2). The stack is that of the deepest chain
of calls as the oldest kernels reckon it (tests/kernels/calls.py); newer ones are more generous.
"""

import argparse
import ctypes
import json
import platform
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from axon.errors import AxonError
from axon.kernel import features, libbpf, system
from axon.kernel.libbpf import lib
from axon.kernel.object import BpfObject, packaged
from axon.kernel.sizing import configure
from axon.settings import Settings
from tests.kernels import calls

MOST_INSNS = 1_000_000

_STEPS, _STATS = 1, 4  # BPF_LOG_LEVEL1, BPF_LOG_STATS
_LOG_SIZE = 1 << 20
_MOST_LOG = (1 << 24) - 1  # what kernels before 5.16 take


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the verifier said of one program; the numbers are 0 where it did not come that far."""

    program: str
    insns: int  # of the program and all its functions
    verified: int  # instructions walked, over every path
    states: int
    peak: int  # states held at the same time
    stack: int  # bytes of the deepest chain of calls
    frames: int  # of the longest chain of calls
    chain: list[str]  # the deepest: functions and the bytes of each
    functions: dict[str, int]  # instructions walked in each, where the kernel says (7.3)
    seconds: float
    refused: str  # the verifier's reason, empty if the program was loaded


def verify(path: Path) -> list[Verdict]:
    """Loads the object with the settings an agent has by default; one verdict a program.

    A program that is refused does not keep the others from being loaded. Nothing is attached, and
    nothing stays in the kernel. Raises `AxonError` when it is not the verifier that refuses.
    """
    system.raise_memlock()
    verdicts: dict[str, Verdict] = {}
    while True:
        refused = [name for name, verdict in verdicts.items() if verdict.refused]
        with BpfObject(path) as obj:
            configure(obj, Settings(), features.fit(obj))
            for name in refused:
                obj.leave_out(name)
            logs = {
                name: _log_of(program.handle, _STATS, _LOG_SIZE)
                for name, program in obj.programs.items()
            }
            failed = None
            with calls.linked() as functions:
                try:
                    obj.load(Path("/dev/null"))
                except AxonError:
                    failed = _refused(logs)
                    if failed is None:
                        raise
            for name, program in obj.programs.items():
                text = logs[name].value.decode(errors="replace")
                if text:
                    graph = calls.Graph(calls.code_of(program.handle), functions[name])
                    verdicts[name] = _verdict(name, text, graph, refused=name == failed)
            if failed is None:
                return list(verdicts.values())


def trace(path: Path, program: str, lines: int) -> list[str]:
    """The last steps of the verifier on its way through a program that it refuses."""
    with BpfObject(path) as obj:
        configure(obj, Settings(), features.fit(obj))
        for name in [*obj.programs]:
            if name != program:
                obj.leave_out(name)
        log = _log_of(obj.programs[program].handle, _STEPS, _MOST_LOG)
        with suppress(AxonError):
            obj.load(Path("/dev/null"))
        return log.value.decode(errors="replace").splitlines()[-lines:]


def _log_of(handle: int, level: int, size: int) -> ctypes.Array[ctypes.c_char]:
    log = ctypes.create_string_buffer(size)
    _call("bpf_program__set_log_buf", handle, log, ctypes.c_size_t(size))
    _call("bpf_program__set_log_level", handle, ctypes.c_uint32(level))
    return log


def _call(function: str, handle: int, *arguments: object) -> int:
    entry = getattr(lib(), function)
    result: int = entry(ctypes.c_void_p(handle), *arguments)
    return libbpf.check(result)


def _refused(logs: dict[str, ctypes.Array[ctypes.c_char]]) -> str | None:
    """The program that was tried last: libbpf stops at the first that is refused."""
    tried = [name for name, log in logs.items() if log.value]
    return tried[-1] if tried else None


def _verdict(name: str, log: str, graph: calls.Graph, *, refused: bool) -> Verdict:
    def number(pattern: str) -> int:
        match = re.search(pattern, log)
        return int(match[1]) if match else 0

    each = re.findall(r"^subprog \d+ \((\w+)\) .* insns_total (\d+) stack (\d+)", log, re.MULTILINE)
    if each:
        depths = [int(stack) for _, _, stack in each]
    else:
        listed = re.search(r"^stack depth ([\d+]+)", log, re.MULTILINE)
        depths = [int(depth) for depth in listed[1].split("+")] if listed else []
    chain, stack, frames = graph.deepest(depths)
    return Verdict(
        program=name,
        insns=graph.insns,
        verified=number(r"processed (\d+) insns"),
        states=number(r"total_states (\d+)"),
        peak=number(r"peak_states (\d+)"),
        stack=stack,
        frames=frames,
        chain=chain,
        functions={function: int(insns) for function, insns, _ in each},
        seconds=number(r"verification time (\d+) usec") / 1e6,
        refused=log.partition("\nverification time")[0].strip()[-400:] if refused else "",
    )


def table(verdicts: Sequence[Verdict], *, details: bool) -> str:
    """The verdicts as a table for people, with chains of calls and functions as `details`."""
    head = (
        "program",
        "insns",
        "verified",
        "of limit",
        "states",
        "peak",
        "stack",
        "frames",
        "seconds",
    )
    columns = "{:16} {:>7} {:>9} {:>8} {:>7} {:>6} {:>8} {:>6} {:>7}"
    lines = [columns.format(*head)]
    for v in verdicts:
        share = f"{100 * v.verified / MOST_INSNS:.1f} %"
        stack = f"{v.stack}/{calls.MOST_STACK}"
        frames = f"{v.frames}/{calls.MOST_FRAMES}"
        row = (v.program, v.insns, v.verified, share, v.states, v.peak, stack, frames)
        lines.append(columns.format(*row, f"{v.seconds:.2f}"))
        if v.refused:
            lines += [f"    refused: {line}" for line in v.refused.splitlines()]
        if v.refused or details:
            lines.append(f"    deepest: {' > '.join(v.chain)}")
        if details and v.functions:
            most = sorted(v.functions.items(), key=lambda item: -item[1])
            lines.append(f"    walked: {', '.join(f'{name} {count}' for name, count in most)}")
    return "\n".join(lines)


def main() -> int:
    """Returns 0 if every program is accepted, 1 if one is refused, 2 if none could be tried."""
    line = argparse.ArgumentParser(prog="make verify", description=__doc__)
    line.add_argument("--object", type=Path, default=packaged(), metavar="FILE")
    line.add_argument("--json", type=Path, metavar="FILE", help="write the verdicts there as well")
    line.add_argument("--details", action="store_true", help="also calls and functions")
    line.add_argument("--trace", type=int, default=0, metavar="LINES",
                      help="the verifier's last steps in each program that it refuses")  # fmt: skip
    chosen = line.parse_args()
    try:
        verdicts = verify(chosen.object)
    except AxonError as error:
        print(f"verify: {error}", file=sys.stderr)
        return 2
    print(f"kernel {platform.release()} {platform.machine()}, {chosen.object.name}")
    print(table(verdicts, details=chosen.details))
    for verdict in verdicts if chosen.trace else ():
        if verdict.refused:
            print(f"\n{verdict.program}:")
            print("\n".join(trace(chosen.object, verdict.program, chosen.trace)))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(verdict) for verdict in verdicts], indent=1))
    return 1 if any(verdict.refused for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
