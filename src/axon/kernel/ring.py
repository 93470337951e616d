"""Flow records from the ring buffer, all that are there at a time, without a call for each.

Layout: Documentation/bpf/ringbuf.rst. The consumer's page comes first, then the producer's, then
the data twice in a row, so that no record is ever seen broken at the end.
"""

from __future__ import annotations

import mmap
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from axon.errors import KernelError
from axon.kernel.maps import PAGE, Map

_BUSY = np.uint32(1 << 31)
_DISCARDED = np.uint32(1 << 30)
_LENGTH = np.uint32((1 << 30) - 1)


class FlowRing:
    """The reader of ax_flows. There is one at a time."""

    def __init__(self, ring: Map, flow: np.dtype[Any]) -> None:
        self._map = ring
        self._size = ring.entries
        stride = -(-(8 + flow.itemsize) // 8) * 8
        self._record = np.dtype(
            {
                "names": ["length", "flow"],
                "formats": ["u4", flow],
                "offsets": [0, 8],
                "itemsize": stride,
            }
        )
        fd = ring.fd.fileno()
        self._mine = mmap.mmap(fd, PAGE)
        self._theirs = mmap.mmap(fd, PAGE + 2 * self._size, offset=PAGE, prot=mmap.PROT_READ)
        self._consumed = np.frombuffer(self._mine, "u8", 1)
        self._produced = np.frombuffer(self._theirs, "u8", 1)
        self._fence = threading.Lock()
        self._fence.acquire()

    @property
    def fd(self) -> int:
        """Descriptor that becomes readable when records wait and the programs wake the reader."""
        return self._map.fd.fileno()

    def read(self) -> npt.NDArray[Any]:
        """Take every finished record; return copies, shape (n,) of ax_flow, oldest first."""
        start = int(self._consumed[0])
        count = (int(self._produced[0]) - start) // self._record.itemsize
        self._order()
        records = np.ndarray((count,), self._record, self._theirs, offset=PAGE + start % self._size)
        lengths = records["length"].copy()
        busy = np.flatnonzero(lengths & _BUSY)
        if len(busy):  # a program is still writing here
            count = int(busy[0])
            records, lengths = records[:count], lengths[:count]
        self._order()
        kept = lengths & _DISCARDED == 0
        if np.any(lengths[kept] & _LENGTH != self._record["flow"].itemsize):
            raise KernelError(
                "The flow records are of another size than this axon knows: another version "
                "attached its programs here. Restart the agent."
            )
        flows: npt.NDArray[Any] = records["flow"][kept]
        self._order()
        self._consumed[0] = start + count * self._record.itemsize
        return flows

    def _order(self) -> None:
        """Keep loads and stores before this from moving behind it, and the reverse (arm64).

        A release followed by an acquire is the one full barrier that Python can be made to issue.
        """
        self._fence.release()
        self._fence.acquire()
