"""Which function of a BPF program calls which, and how much stack the deepest chain of calls takes.

The rule is check_max_stack_depth() of kernel/bpf/verifier.c, as in Linux 5.10: at most 512 bytes and
eight frames in a chain, every frame rounded up to 32 bytes. (Later kernels round to 16 where the
program is compiled, and do not count the frames of global functions.)
"""

import ctypes
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from axon.kernel import libbpf
from axon.kernel.libbpf import lib

MOST_STACK = 512
MOST_FRAMES = 8

_ROUND = 32
_CALL = 0x85  # BPF_JMP | BPF_CALL
_TO_FUNCTION = 1  # BPF_PSEUDO_CALL, in src_reg
_INSN = 8  # bytes
_LINE = 512

_LINKED = re.compile(r"prog '(\w+)': added \d+ insns from sub-prog '(\w+)'")
_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


@contextmanager
def linked() -> Iterator[dict[str, list[str]]]:
    """Collects what libbpf links to each program, in its order, while an object is loaded.

    The names of the functions appear nowhere else until the kernel has accepted a program.
    """
    names: dict[str, list[str]] = defaultdict(list)
    libc = ctypes.CDLL(None)
    libc.vsnprintf.argtypes = (
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_char_p,
        ctypes.c_void_p,
    )

    def receive(level: int, template: bytes, arguments: int) -> int:
        if b"insns from sub-prog" in template:
            line = ctypes.create_string_buffer(_LINE)
            libc.vsnprintf(line, _LINE, template, arguments)
            if match := _LINKED.search(line.value.decode()):
                names[match[1]].append(match[2])
        return int(libbpf._keep(level, template, arguments))

    callback = _PRINT(receive)
    lib()
    ctypes.CDLL("libbpf.so.1").libbpf_set_print(callback)
    try:
        yield names
    finally:
        lib().libbpf_set_print(libbpf._keep)


class Graph:
    """The calls of a program that libbpf has linked (whether or not the kernel took it)."""

    def __init__(self, code: bytes, functions: Sequence[str]) -> None:
        """`code` is the whole program's, `functions` what `linked` collected for it."""
        self.insns = len(code) // _INSN
        self._calls = list(_calls(code))
        self._starts = sorted({0, *(target for _, target in self._calls)})
        named = len(self._starts) == 1 + len(functions)
        self._names = ["main", *functions] if named else [f"#{i}" for i in range(len(self._starts))]

    def deepest(self, depths: Sequence[int]) -> tuple[list[str], int, int]:
        """The chain that takes the most stack, its bytes, and the frames of the longest chain.

        `depths` are the bytes of the functions' own frames, in their order; nothing is known
        without them.
        """
        if len(self._starts) != len(depths):
            return [], 0, 0
        ends = [*self._starts[1:], self.insns]
        called = [
            {self._starts.index(target) for at, target in self._calls if start <= at < end}
            for start, end in zip(self._starts, ends, strict=True)
        ]
        known: dict[int, tuple[int, int, list[str]]] = {}

        def below(function: int) -> tuple[int, int, list[str]]:
            if function not in known:
                chains = [below(callee) for callee in called[function]]
                stack, _, chain = max(chains, default=(0, 0, []))
                own = -(-max(depths[function], 1) // _ROUND) * _ROUND
                known[function] = (
                    own + stack,
                    1 + max((frames for _, frames, _ in chains), default=0),
                    [f"{self._names[function]} {depths[function]}", *chain],
                )
            return known[function]

        stack, frames, chain = below(0)
        return chain, stack, frames


def code_of(handle: int) -> bytes:
    """The instructions of a program (libbpf's handle), its functions included."""
    insns, count = lib().bpf_program__insns, lib().bpf_program__insn_cnt
    insns.restype, count.restype = ctypes.c_void_p, ctypes.c_size_t
    start = insns(ctypes.c_void_p(handle))
    return ctypes.string_at(start, count(ctypes.c_void_p(handle)) * _INSN) if start else b""


def _calls(code: bytes) -> Iterator[tuple[int, int]]:
    """The calls between functions of a program: the index of each and that of its target."""
    for at in range(len(code) // _INSN):
        insn = code[at * _INSN : (at + 1) * _INSN]
        if insn[0] == _CALL and insn[1] >> 4 == _TO_FUNCTION:
            yield at, at + 1 + int.from_bytes(insn[4:8], sys.byteorder, signed=True)
