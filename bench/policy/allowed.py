"""Allowed requests: throughput, P99 and CPU with 100 rules, against none, and beside sidecars with the same rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from statistics import median

from bench.cable import Cable
from bench.load import Asked, Asker, Way
from bench.policy.rules import PATH
from bench.policy.sidecars import RULES, SIDECARS, envoy_program
from bench.policy.world import Scene, scene
from bench.report import Table, spread
from bench.world import BenchError, nginx, require

BARE, CONTROL = "nginx alone", "nginx alone, again"
SEEN, SEEN_AGAIN = "observed, no policy", "observed, no policy, again"
JUDGED = f"observed, {RULES} rules"
PORTS = {
    name: 18721 + i for i, name in enumerate((BARE, CONTROL, SEEN, SEEN_AGAIN, JUDGED, *SIDECARS))
}
_UPSTREAM = 18731
_OURS = (SEEN, SEEN_AGAIN, JUDGED)
_NGINX, _PROXIED = (BARE, CONTROL, *_OURS), (BARE, *SIDECARS)
BASES = {name: SEEN if name in {SEEN_AGAIN, JUDGED} else BARE for name in PORTS}
_PACE = 4000
_WAYS = {
    ("loopback", "keep-alive"): Way(connections=32),
    ("loopback", "a connection each"): Way(connections=32, close=True),
    ("cable", "keep-alive"): Way(connections=32),
    ("cable", "a connection each"): Way(connections=32, close=True),
    ("loopback", f"{_PACE:,} a second"): Way(connections=64, rate=_PACE, turn_ms=100, warm_ms=20),
}


def measure(*, blocks: int = 10, seconds: float = 5.0) -> Table:
    """Measure all of them in turns, over loopback and over a cable whose packets the server's core works on.

    Sidecars in blocks of their own, half as many: what is compared to a per cent takes long turns, and they do not need them.
    """
    require("nginx", "haproxy", "gcc", "ip", "curl")
    envoy_program()
    table = Table(
        "Allowed requests, with a policy", "make bench BENCH=policy",
        ["", "requests a second", "of nginx alone", f"of {SEEN}", "P99, µs", "P99, of the one without",
         "CPU, µs a request: server's core", "both cores", "added on both"],
    )  # fmt: skip
    with scene(PORTS[JUDGED]) as here:
        for (place, kind), way in _WAYS.items():
            found = [block(here, place, way, seconds, _NGINX) for _ in range(blocks)]
            proxied = [block(here, place, way, seconds, _PROXIED) for _ in range(blocks // 2)]
            table.rows += [
                [
                    f"{place}, {kind}: {name}",
                    *_cells(name, proxied if name in SIDECARS else found, paced=bool(way.rate)),
                ]
                for name in PORTS
            ]
            if not way.rate:
                _brief(table, f"{kind}, over {place}", found, proxied)
    table.notes += [
        f"Medians and quartiles of {blocks} blocks of {seconds:g} s, in which all take turns of a twentieth of a second "
        f"(a tenth at a rate); of the sidecars, of {blocks // 2} others, beside an nginx alone. nginx has a core, sidecars share it, the client has the other one. On loopback what arrives "
        "at the server, the gate with it, is worked on by the client's core, so CPU counts on both. The cable ends in "
        "another network namespace, and each core works on what arrives at its end, as with two hosts: the gate is in the server's core's figures, and "
        "so are the interrupts between the cores. Sidecars keep their connections to nginx and are not observed. "
        "All are asked for the same exact path, beside 97 rules with a segment that may be anything.",
        "P99: from the request's beginning (its connection's, if it has one of its own; at a rate, from when it was due) "
        "to the answer's last byte, of all but those begun in a turn's first tenth (fifth, at a rate); in buckets of 0.8 %. "
        "CPU: what the cores were not idle, over the answers; at a rate the client never is. "
        "The counts of answers are compared with nginx's own and agree to the request.",
    ]
    return table


def block(
    here: Scene, place: str, way: Way, seconds: float, names: Sequence[str]
) -> dict[str, Asked]:
    """Ask each of the servers in turns, over a place's end, by a way.

    They are started anew: where in memory a server lies makes a difference of some per cent.
    """
    with ExitStack() as servers:
        for server in _servers(here, names):
            servers.enter_context(server)
        return _asked(here.ask, here.ends[place], way, seconds, names)


def _servers(here: Scene, names: Sequence[str]) -> list[AbstractContextManager[object]]:
    servers: list[AbstractContextManager[object]] = [nginx(here.plain, _UPSTREAM)]
    for name in names:
        port = PORTS[name]
        if name in SIDECARS:
            servers.append(SIDECARS[name](here.plain, port, _UPSTREAM))
        else:
            servers.append(nginx(here.judged if name in _OURS else here.plain, port))
    return servers


def _asked(
    ask: Asker, end: Cable, way: Way, seconds: float, names: Sequence[str]
) -> dict[str, Asked]:
    """Ask all, and compare what came with what nginx says that it has been asked."""
    counted = {name: PORTS[name] for name in names if name not in SIDECARS}
    counted["upstream"] = _UPSTREAM
    before = _count(end, counted)
    urls = {name: f":{PORTS[name]}{PATH}" for name in names}
    found = ask(end, urls, way, seconds=seconds)
    after = _count(end, counted)
    answers = {name: asked.ok for name, asked in found.items()}
    answers["upstream"] = sum(answers[name] for name in SIDECARS if name in names)
    for name in counted:
        if after[name] - before[name] - 1 != answers[name]:
            raise BenchError(
                f"{name}: nginx was asked {after[name] - before[name] - 1} times, {answers[name]} answers came"
            )
    return found


def _count(end: Cable, ports: Mapping[str, int]) -> dict[str, int]:
    return {name: end.served(port) for name, port in ports.items()}


def _cells(name: str, found: Sequence[Mapping[str, Asked]], *, paced: bool) -> list[str]:
    base = BASES[name]

    def of(other: str, value: Callable[[Asked], float]) -> str:
        return "" if name == other else spread([value(b[name]) / value(b[other]) for b in found])

    def rate(asked: Asked) -> float:
        return asked.rate

    added = median(block[name].both_us - block[base].both_us for block in found)
    return [
        f"{median(block[name].rate for block in found):,.0f}",
        "" if paced else of(BARE, rate),
        of(SEEN, rate) if base == SEEN and not paced else "",
        f"{median(block[name].p99_us for block in found):,.0f}",
        of(base, lambda asked: asked.p99_us),
        f"{median(block[name].server_us for block in found):.1f}",
        "" if paced else f"{median(block[name].both_us for block in found):.1f}",
        "" if paced or name == base else f"{added:+.1f}",
    ]


def _brief(
    table: Table,
    kind: str,
    found: Sequence[Mapping[str, Asked]],
    proxied: Sequence[Mapping[str, Asked]],
) -> None:
    def share(name: str) -> str:
        blocks = proxied if name in SIDECARS else found
        ratio = median(block[name].rate / block[BASES[name]].rate for block in blocks)
        return f"{ratio * 100:.1f} %"

    tail = median(block[JUDGED].p99_us / block[SEEN].p99_us for block in found)
    table.brief.append(
        (f"Throughput of a saturated nginx with {RULES} rules, of none, {kind}",
         f"{share(JUDGED)}, P99 × {tail:.2f}; with the same rules " +
         ", ".join(f"{name} {share(name)}" for name in SIDECARS))
    )  # fmt: skip
