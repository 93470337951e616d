"""An Axon with the gate in front of a place's servers, the policies it judges by, and what came of it."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from axon.kernel import tc
from axon.kernel.system import cgroup_root, enter_network
from axon.policy.compiler.compile import Compiled, Host
from axon.policy.compiler.layout import HostMode
from axon.policy.enforcer import Enforcer
from axon.policy.files.load import parse_policies
from tests.live.kit.axon import Axon
from tests.live.kit.books import wait_for
from tests.live.kit.world import Place

if TYPE_CHECKING:
    from axon.agent.points import Points

T = TypeVar("T")
_CONTRACT = Path(__file__).parents[3] / "bpf" / "axon_policy.h"
_BODY = b"Denied by network policy.\n"
WAITS = frozenset({"ORDER", "BUSY"})
"""What is dropped for another core, that is still at what is in front of it: the client sends it again."""


def inside(place: Place, work: Callable[[], T]) -> T:
    """Run something in a thread that has entered a place's network namespace."""
    results: list[T] = []
    problems: list[BaseException] = []

    def run() -> None:
        try:
            with Path("/run/netns", place.name).open("rb") as namespace:
                enter_network(namespace.fileno())
            results.append(work())
        except BaseException as e:  # noqa: BLE001 - raised in the caller's thread
            problems.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if problems:
        raise problems[0]
    return results[0]


def _enum(name: str) -> dict[str, int]:
    """Return an enum of the contract that counts from 0."""
    found = re.search(rf"enum {name} {{(.*?)}};", _CONTRACT.read_text(), re.DOTALL)
    assert found
    return {key: i for i, key in enumerate(re.findall(r"^\t(AX_\w+)", found[1], re.MULTILINE))}


def caller_cgroup() -> int:
    """Return the id of the cgroup of this process, which connects for every client."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    path = next(line[3:] for line in lines if line.startswith("0::"))
    return (cgroup_root() / path.lstrip("/")).stat().st_ino


@dataclass(frozen=True)
class Verdicts:
    """How many verdicts there were, of all policies and for none."""

    forwarded: int
    audit: int
    dropped: int


class Guarded:
    """The gate in front of the servers of a place, on interfaces of it."""

    def __init__(self, axon: Axon, place: Place) -> None:
        self.axon = axon
        self.place = place
        self.gate = axon.kernel.gate
        self.enforcer = Enforcer(self.gate, axon.kernel.quiesce)
        self._reasons = _enum("ax_deny")
        self.forged = False
        """Does the test at hand send segments with wrong checksums?"""
        self._detach = ExitStack()
        self._everywhere = ("", 0)

    def attach(self, interface: str) -> None:
        """Judge what comes in by an interface of the place."""
        point = tc.Point(inside(self.place, lambda: socket.if_nametoindex(interface)))
        inside(self.place, lambda: self.gate.attach(point))
        self._detach.callback(inside, self.place, lambda: tc.detach(point))

    def force(
        self, text: str, *, mode: HostMode = HostMode.ENFORCE, host: Host | None = None
    ) -> Compiled:
        """Put the policies of a YAML text into force, and no others."""
        compiled = self.enforcer.apply(parse_policies(text, "test.yaml"), host or Host())
        self.gate.mode = mode
        return compiled

    def allow_everywhere(self, rule: str) -> None:
        """Put one policy into force, `default/web`: these httpRules for every server.

        If it is in force already, that stays: an emulated processor takes a while for a generation.
        """
        if self._everywhere != (rule, self.gate.generation):
            self.force(policy("web", None, rule))
            self._everywhere = rule, self.gate.generation
        self.gate.mode = HostMode.ENFORCE

    def allow(
        self, port: int, *rules: str, mode: HostMode = HostMode.ENFORCE, spec: str = ""
    ) -> None:
        """Put one policy into force, `default/web`: these httpRules, in YAML, for a port."""
        self.force(policy("web", port, *rules, spec=spec), mode=mode)

    def release(self) -> None:
        """Judge nothing until policies are put into force again."""
        self.gate.mode = HostMode.OFF

    def denials(self) -> dict[str, int]:
        """Return the counters of denials by reason, without AX_DENY_; those that are not 0."""
        values = self.gate.denials()
        return {
            name.removeprefix("AX_DENY_"): int(values[i])
            for name, i in self._reasons.items()
            if name != "AX_DENY_MAX" and values[i]
        }

    def expect_denials(self, before: Mapping[str, int], **grown: int) -> None:
        """Fail unless the counters of reasons have grown by so much since `before`.

        Looks for a while: what is written by hand may take a moment to get there.
        """

        def seen() -> dict[str, int]:
            now = self.denials()
            return {reason: now.get(reason, 0) - before.get(reason, 0) for reason in grown}

        assert wait_for(seen, grown.__eq__) == grown

    @contextmanager
    def denying(self, **grown: int) -> Iterator[None]:
        """Fail unless in the end the counters of these reasons have grown by so much, and no others. Of what
        waits for another core (WAITS) there may be more.
        """
        before = self.denials()
        yield

        def seen() -> dict[str, int]:
            now = {reason: n - before.get(reason, 0) for reason, n in self.denials().items()}
            now |= {reason: min(now.get(reason, 0), grown.get(reason, 0)) for reason in WAITS}
            return {reason: n for reason, n in now.items() if n}

        if (counted := wait_for(seen, grown.__eq__)) != grown:
            pytest.fail(f"denied for {counted}, and not for {grown}")

    def verdicts(self) -> Verdicts:
        """Return how many verdicts of each kind there were."""
        names = _enum("ax_verdict")
        total = self.gate.verdicts().sum(axis=0)
        kinds = ("FORWARDED", "AUDIT", "DROPPED")
        return Verdicts(*(int(total[names["AX_VERDICT_" + kind]]) for kind in kinds))

    def close(self) -> None:
        """Detach the gate."""
        self._detach.close()

    @contextmanager
    def everywhere(self) -> Iterator[Points]:
        """Judge what passes on any interface of the place, as an agent there would."""
        # an agent needs more packages than every guest of tests/kernels has
        from axon.agent.points import Points  # noqa: PLC0415

        points = inside(self.place, lambda: Points(self.gate))
        yield points
        self.release()
        points.close()
        inside(self.place, self._leave)

    def _leave(self) -> None:
        # another place's interfaces may have the same numbers
        for index, _ in socket.if_nameindex():
            for egress in (False, True):
                tc.detach(tc.Point(index, egress))
            with suppress(OSError):
                self.gate.forget(index)


def policy(name: str, port: int | None, *rules: str, spec: str = "") -> str:
    """Return a policy for the servers of a port, or for all; each rule is YAML in flow style, `spec` further
    lines of the specification. Without rules: one ingress entry without httpRules.
    """
    lines = [
        "apiVersion: axon.dev/v1alpha1",
        "kind: L7NetworkPolicy",
        f"metadata: {{name: {name}}}",
        "spec:",
        f'  podSelector: {{matchLabels: {{axon.dev/port: "{port}"}}}}'
        if port
        else "  podSelector: {}",
        *([f"  {spec}"] if spec else []),
        "  ingress:",
        f"    - httpRules: [{', '.join(rules)}]" if rules else "    - {}",
    ]
    return "\n".join(lines) + "\n"


def for_front(port: int, rules: str = "httpRules: [{path: /pub/*}]") -> str:
    """Return a policy for the servers of a port, by which callers with the label `app: front` may what
    the rest of an entry says.
    """
    return f"""
apiVersion: axon.dev/v1alpha1
kind: L7NetworkPolicy
metadata: {{name: web}}
spec:
  podSelector: {{matchLabels: {{axon.dev/port: "{port}"}}}}
  ingress:
    - from: [{{podSelector: {{matchLabels: {{app: front}}}}}}]
      {rules}
"""


def forbidden(*, name: str = "default/web", body: bool = True) -> bytes:
    """Return the whole answer to a denied request."""
    lines = [
        b"HTTP/1.1 403 Forbidden",
        b"Content-Type: text/plain",
        b"Content-Length: %d" % len(_BODY),
        b"Connection: close",
        *([b"x-axon-policy: " + name.encode()] if name else []),
        b"",
        _BODY if body else b"",
    ]
    return b"\r\n".join(lines)


@dataclass(frozen=True)
class End:
    """What one end of a connection has read, and how it ended: `eof`, `reset` or `silence`."""

    data: bytes
    how: str


def rest(sock: socket.socket, seconds: float = 5.0) -> End:
    """Read until a connection ends, or until nothing has come for so long."""
    data = bytearray()
    before = sock.gettimeout()
    sock.settimeout(seconds)
    try:
        while piece := sock.recv(1 << 20):
            data += piece
        how = "eof"
    except TimeoutError:
        how = "silence"
    except (ConnectionResetError, BrokenPipeError):
        how = "reset"
    finally:
        sock.settimeout(before)
    return End(bytes(data), how)


def expect_403(client: socket.socket, *, name: str = "default/web", body: bool = True) -> None:
    """Fail unless exactly one 403 and the stream's end come."""
    seen = rest(client)
    if seen != End(forbidden(name=name, body=body), "eof"):
        pytest.fail(f"not a 403 and the end: {seen}")


def expect_nothing(server: socket.socket) -> None:
    """Fail unless a server's connection is reset without a byte more."""
    seen = rest(server)
    if seen != End(b"", "reset"):
        pytest.fail(f"the server's end was not reset: {seen}")


def checksum_errors(place: Place) -> int:
    """Return how many segments a place has dropped for their checksum."""
    return place.tcp_counter("InCsumErrors")
