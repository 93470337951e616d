"""Where requests are judged: the filter on every interface, attached, watched, and put back."""

from __future__ import annotations

import asyncio
import errno
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from axon.agent.ways import Way, ways
from axon.errors import KernelError
from axon.kernel import tc
from axon.kernel.gate import PORTS, Gate
from axon.kernel.netlink import Watch, interfaces
from axon.kernel.pins import pinned_gates
from axon.log import get

State = Literal["judged", "behind", "unjudged"]
STATES: tuple[State, ...] = ("judged", "behind", "unjudged")

_SOON = 0.02
_PATIENCE = 10.0
_log = get("policy")


def refuse_others(pin_dir: Path) -> None:
    """Raise KernelError if the filters here are those of another pin directory.

    There is one place for them on each interface: two agents would take it from each other without
    end. What somebody has left there who is pinned nowhere any more is nobody's.
    """
    gates = pinned_gates()
    for way in ways(interfaces()).points.values():
        places = gates.get(tc.attached(way.point), set())
        if places and pin_dir.resolve() not in places:
            other = min(places)
            raise KernelError(
                f"Requests on {way.interface} are judged by another Axon, which is pinned in {other}, "
                "and only one can have policies in force. End it and detach it "
                f"(`axon detach --pin-dir {other}`), or start this one without policies."
            )


class Points:
    """The filters of one gate in this network namespace."""

    def __init__(self, gate: Gate) -> None:
        """Attach them. An interface that cannot be judged is told in `problem`; raise OSError."""
        self._gate = gate
        self._states: dict[tc.Point, tuple[State, str]] = {}
        self._names: dict[tc.Point, str] = {}
        self._beyond = gate.beyond()
        """What the gate was told last to be on interfaces' other ends."""
        self._moved: dict[tc.Point, float] = {}
        self._watch = Watch()
        self._due = False
        self.repairs = Counter({"missing": 0, "behind": 0})
        """How often a filter had to be put back, by what had become of it."""
        self.look()

    @property
    def states(self) -> Mapping[str, int]:
        """How many interfaces there are in each state, by the worse of their directions."""
        worst: dict[int, State] = {}
        for point, (state, _) in self._states.items():
            if point.port:
                continue
            before = worst.get(point.ifindex, STATES[0])
            worst[point.ifindex] = max(state, before, key=STATES.index)
        found = Counter(worst.values())
        return {state: found[state] for state in STATES}

    @property
    def problem(self) -> str:
        """Which interface is not judged and why; empty if all are."""
        for point, (state, why) in sorted(self._states.items(), key=lambda one: one[0].port):
            if state == "unjudged" and point.port:
                return (
                    f"What comes by {self._names[point]} cannot be told from what comes by the other "
                    f"ports of its bridge ({why}): callers beyond it are not known."
                )
            if state == "unjudged":
                return (
                    f"Requests on {self._names[point]} cannot be judged ({why}): what arrives there "
                    "for a workload with policies is dropped, and its connection ended. "
                    "`axon doctor` may say more."
                )
        return ""

    def start(self) -> None:
        """Look as soon as something changes, from the running event loop."""
        asyncio.get_running_loop().add_reader(self._watch.fileno(), self._stirred)

    def close(self) -> None:
        """Look no more by itself; the filters stay."""
        with suppress(RuntimeError):
            asyncio.get_running_loop().remove_reader(self._watch.fileno())
        self._watch.close()

    def look(self) -> None:
        """See to it that every interface is judged, by us first; raise OSError."""
        wanted, beyond = ways(interfaces())
        gone = self._beyond.keys() - beyond.keys()
        # A bridge is told of as one only while its ports tell.
        self._forget([index for index in gone if self._beyond[index] == PORTS])
        for point in self._states.keys() - wanted.keys():
            self._leave(point)
        self._forget(self._beyond.keys() - beyond.keys())
        self._lead({index: netns for index, netns in beyond.items() if netns != PORTS})
        for way in wanted.values():
            try:
                state = self._settled(way)
                why = ", ".join(tc.in_front(way.point)) if state == "behind" else ""
            except OSError as error:
                if error.errno in tc.GONE:
                    continue
                state, why = "unjudged", _why(way.point, error)
            self._note(way, state, why)
        self._lead(beyond)

    def _stirred(self) -> None:
        self._watch.drain()
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(_SOON, self._look_again)

    def _look_again(self) -> None:
        self._due = False
        if self._watch.fileno() < 0:
            return
        try:
            self.look()
        except OSError as error:
            _log.error("the interfaces cannot be listed", problem=str(error))

    def _settled(self, way: Way) -> State:
        """Attach what is missing, and be the first; return what has come of it."""
        point = way.point
        chain = tc.chain(point)
        here = [one for one in chain if tc.is_ours(one) and one.program == self._gate.program]
        if not here or tc.is_for_port(here[0]) != point.port:
            self._gate.attach(point)
            if point in self._states:
                self._repaired(way, "missing")
            chain = tc.chain(point)
        if not chain:
            raise OSError(errno.ENOENT, "its filter has been removed again")
        if not tc.is_ours(chain[0]):
            if time.monotonic() - self._moved.get(point, -_PATIENCE) < _PATIENCE:
                return "behind"
            # A new filter goes in front of those of its priority. What arrives meanwhile is dropped.
            self._moved[point] = time.monotonic()
            tc.detach(point)
            self._gate.attach(point)
            self._repaired(way, "behind")
        return "behind" if tc.ahead(point) else "judged"

    def _repaired(self, way: Way, why: str) -> None:
        self.repairs[why] += 1
        _log.warning(
            "a filter was put back",
            interface=way.interface,
            was="removed or replaced" if why == "missing" else "behind another one",
        )

    def _note(self, way: Way, state: State, why: str) -> None:
        before = self._states.get(way.point)
        self._states[way.point] = state, why
        self._names[way.point] = way.interface
        if before == (state, why):
            return
        if state == "unjudged":
            _log.error("an interface cannot be judged", interface=way.interface, problem=why)
        elif state == "behind":
            _log.warning("programs of others come first", interface=way.interface, which=why)
        elif before:
            _log.info("an interface is judged again", interface=way.interface)

    def _leave(self, point: tc.Point) -> None:
        with suppress(OSError):
            tc.detach(point)
        del self._states[point], self._names[point]
        self._moved.pop(point, None)

    def _lead(self, beyond: Mapping[int, int]) -> None:
        for index, netns in beyond.items():
            if self._beyond.get(index) == netns:
                continue
            try:
                self._gate.lead(index, netns)
            except OSError as error:
                _log.error("what is behind an interface cannot be told", problem=str(error))
                continue
            self._beyond[index] = netns

    def _forget(self, indices: Iterable[int]) -> None:
        for index in indices:
            with suppress(OSError):
                self._gate.forget(index)
            self._beyond.pop(index, None)


def taken() -> list[str]:
    """Return at which interfaces of this network namespace others come before us, and who; raise OSError."""
    return [
        f"{way.interface} ({'egress' if point.egress else 'ingress'}): {', '.join(others)}"
        for point, way in ways(interfaces()).points.items()
        if (others := tc.in_front(point))
    ]


def _why(point: tc.Point, error: OSError) -> str:
    """Return why nothing can be attached at a point: who is there, if it is for that."""
    said = error.strerror or str(error)
    with suppress(OSError):
        if others := tc.in_front(point):
            return f"{said}: {', '.join(others)}"
    return said
