"""A kernel that names paths as bpf/route.h does, from the rows that were written to its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axon.kernel import load_abi

SECOND = 1_000_000_000
ABI = load_abi()
DEPTH, WORDS = ABI.rt_set["wild"].shape


class RouteKernel:
    """Route texts, pattern sets and the control block; it fails where it is told to."""

    def __init__(self, secret: int = 0x1234_5678_9ABC_DEF1, max_routes: int = 4096) -> None:
        self.abi = ABI
        self.now = 1000 * SECOND
        self.ctl = np.zeros(1, [("secret", "<u8"), ("route_set", "<u4"), ("route_serial", "<u4")])
        self.ctl["secret"] = secret
        self.max_routes = max_routes
        self.table: dict[int, NDArray[Any]] = {}
        self.segs: dict[tuple[int, int, int], NDArray[Any]] = {}
        self.sets = np.zeros(2, ABI.rt_set)
        self.log: list[str] = []

    def clock(self) -> int:
        """Return the time in ns."""
        return self.now

    def routes(self) -> Iterator[tuple[int, bytes, Any]]:
        """Yield every route."""
        for route, row in list(self.table.items()):
            yield route, row["text"][: int(row["len"])].tobytes(), row

    def lookup_routes(self, ids: Sequence[int], /) -> Mapping[int, str]:
        """Return the texts of those that are known."""
        texts = {route: text.decode(errors="backslashreplace") for route, text, _ in self.routes()}
        return {route: texts[route] for route in ids if route in texts}

    def put_route(self, route: int, text: str, /, *, pattern: bool) -> None:
        """Name a route."""
        if route not in self.table and len(self.table) >= self.max_routes:
            raise OSError(7, "Argument list too long")
        row = np.zeros((), ABI.route)
        data = text.encode()
        row["text"][: len(data)] = np.frombuffer(data, "u1")
        row["len"], row["pattern"], row["created"] = len(data), pattern, self.now
        self.table[route] = row
        self.log.append(f"put {text}")

    def delete_route(self, route: int, /) -> None:
        """Forget a route."""
        del self.table[route]

    def write_rt(
        self,
        set_index: int,
        segs: Mapping[tuple[int, int], NDArray[Any]],
        rt_set: NDArray[Any],
        /,
    ) -> None:
        """Replace a set."""
        assert set_index != self.ctl["route_set"][0]
        self.log.append(f"write {set_index}")
        self.segs = {key: bits for key, bits in self.segs.items() if key[2] != set_index}
        for (digest, depth), bits in segs.items():
            assert bits.shape == (WORDS,)
            self.segs[digest, depth, set_index] = bits
        self.sets[set_index] = rt_set

    def quiesce(self) -> None:
        """Note that it was waited."""
        self.log.append("wait")

    def matched(self, path: bytes) -> int:
        """Return the route of the pattern that matches a path, 0 if none: ax_first_pattern."""
        index = int(self.ctl["route_set"][0])
        row = self.sets[index]
        if not row["words"]:
            return 0
        bits = np.full(WORDS, ~np.uint64(0))
        segments = path.split(b"?")[0].split(b"#")[0][1:].split(b"/")
        for depth, segment in enumerate(segments[:DEPTH]):
            digest = int(self.ctl["secret"][0])
            for byte in segment:
                digest = (digest ^ byte) * 0x100000001B3 % 2**64
            literal = self.segs.get((digest ^ digest >> 32, depth, index), np.uint64(0))
            bits &= (row["wild"][depth] if segment else np.uint64(0)) | literal
        bits &= row["len"][min(len(segments), DEPTH)]
        for word in range(WORDS):
            for bit in range(64):
                if int(bits[word]) >> bit & 1:
                    return int(row["route"][word * 64 + bit])
        return 0

    def name(self, path: bytes) -> int:
        """Return the route of a path, making one if it has none: ax_route_of without its classes."""
        route = self.matched(path)
        if not route:
            route = int.from_bytes(path[1:9].ljust(8, b"~"), "little") ^ hash(path) & 0xFFFFFFFF
            if route not in self.table:
                self.put_route(route, path.decode(), pattern=False)
        return route
