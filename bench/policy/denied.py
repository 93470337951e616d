"""Denied requests: how many a core answers with 403, against nginx's own `return 403`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from statistics import median

from bench.cable import Cable
from bench.load import Asked, Way
from bench.policy.rules import DENIED
from bench.policy.sidecars import RULES
from bench.policy.world import Scene, scene
from bench.report import Table, spread
from bench.world import BenchError, nginx, require

_NGINX, _AGAIN, _SEEN = "nginx, `return 403`", "the same, again", "the same, observed"
_GATE = f"the gate, {RULES} rules, observed"
_PORTS = {name: 18741 + i for i, name in enumerate((_NGINX, _AGAIN, _SEEN, _GATE))}
_DROPPED = 3


def measure(*, blocks: int = 8, seconds: float = 4.0) -> Table:
    """Measure denials with a connection each, in turns."""
    require("nginx", "gcc", "ip", "curl")
    table = Table(
        "Denied requests, a connection each", "make bench BENCH=policy",
        ["", "a second", "of nginx's own", "CPU, µs a denial: server's core", "both cores", "a second and core, of nginx's own"],
    )  # fmt: skip
    with scene(_PORTS[_GATE]) as here:
        for place, end in here.ends.items():
            found = []
            for _ in range(blocks):
                with ExitStack() as servers:
                    for name, port in _PORTS.items():
                        group = here.judged if name in {_SEEN, _GATE} else here.plain
                        servers.enter_context(nginx(group, port))
                    found.append(_block(here, end, seconds))
            table.rows += [[f"{place}: {name}", *_cells(name, found)] for name in _PORTS]
            table.brief.append(
                (f"Denied requests a second and core, of nginx's own `return 403`, over {place}", table.rows[-1][-1])
            )  # fmt: skip
    table.notes.append(
        f"Medians and quartiles of {blocks} blocks of {seconds:g} s in turns of a twentieth of a second, {_WAY.connections} connections at a time, "
        "`Connection: close`. All that the host does for a denial is done by the core that nginx has: the handshake, accepting "
        "the connection, the answer, taking it down. The client's core is another one. As many denials were counted by the gate as "
        "answers came, and its nginx read none of these requests."
    )
    return table


_WAY = Way(connections=64, close=True)


def _block(here: Scene, end: Cable, seconds: float) -> Mapping[str, Asked]:
    gate = here.kernel.gate
    dropped, read = int(gate.verdicts()[:, _DROPPED].sum()), end.served(_PORTS[_GATE])
    urls = {name: f":{port}{DENIED}" for name, port in _PORTS.items()}
    found = here.ask(end, urls, _WAY, seconds=seconds)
    dropped = int(gate.verdicts()[:, _DROPPED].sum()) - dropped
    read = end.served(_PORTS[_GATE]) - read - 1
    if any(asked.ok for asked in found.values()) or read or dropped != found[_GATE].denied:
        raise BenchError(
            f"{found[_GATE].denied} denials came, the gate counted {dropped}, {read} requests were read"
        )
    return found


def _cells(name: str, found: Sequence[Mapping[str, Asked]]) -> list[str]:
    def of(value: Callable[[Asked], float]) -> str:
        return "" if name == _NGINX else spread([value(b[name]) / value(b[_NGINX]) for b in found])

    return [
        f"{median(block[name].rate for block in found):,.0f}",
        of(lambda asked: asked.rate),
        f"{median(block[name].server_us for block in found):.1f}",
        f"{median(block[name].both_us for block in found):.1f}",
        of(lambda asked: 1 / asked.both_us),
    ]
