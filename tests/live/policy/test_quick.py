"""How soon policies are in force where there are many: by the clock, on the kernel, until a request is judged by them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from axon.policy.compiler.compile import Host
from axon.policy.compiler.layout import HostMode
from axon.policy.enforcer import Enforcer
from axon.policy.files.load import Library
from axon.policy.language.model import Policy
from tests.live.kit.axon import Attacher
from tests.live.kit.gate import Guarded, forbidden, policy, rest
from tests.live.kit.wire import OK, Listener, get
from tests.live.kit.world import World

POLICIES, RULES = 1000, 100
MOST, MOST_OF_A_CHANGE = 2.0, 0.1  # seconds
CHANGES = 9
_ELSEWHERE = 30_000
_PATHS = ("items", "{id}", "x/*", "v*.json")


def rules(number: int) -> list[str]:
    """Return rules of which none is another policy's."""
    return [f'{{method: GET, path: "/{number}/{i}/{_PATHS[i % 4]}"}}' for i in range(RULES)]


@dataclass
class Many:
    """A directory of policies, each in a file of its own for a server of its own; one of those is there."""

    folder: Path
    gate: Guarded
    listener: Listener
    library: Library

    def write(self, path: str) -> None:
        """Have the policy of the server that is there allow a path beside its other rules."""
        port = self.listener.port
        text = policy("own", port, *rules(port)[1:], f"{{path: {path}}}")
        (self.folder / "own.yaml").write_text(text)

    def read(self) -> list[Policy]:
        """Read what has changed of the files."""
        return self.library.load([self.folder])

    def force(self, policies: list[Policy], path: str) -> float:
        """Return the seconds until a request for a path, on a new connection, has reached the server."""
        wire = self.listener.connect()
        began = time.monotonic()
        self.gate.enforcer.apply(policies, Host())
        self.gate.gate.mode = HostMode.ENFORCE
        wire.ask(get(path))
        took = time.monotonic() - began
        wire.answer(OK)
        wire.finish()
        return took

    def denied(self, path: str) -> bool:
        """Return whether a request is answered by the gate."""
        wire = self.listener.connect()
        wire.client.sendall(get(path))
        return rest(wire.client, 1).data == forbidden(name="default/own")


@pytest.fixture
def many(world: World, tmp_path: Path) -> Iterator[Many]:
    """Give them before any is in force, in maps with room for them."""
    attacher = Attacher(f"{world.name}-many", world.cgroup, tmp_path / "run")
    gate = Guarded(attacher(policy_memory=256 << 20), world.server)
    gate.attach("lo")
    listener = Listener(world, world.server, world.server, "127.0.0.1")
    folder = tmp_path / "policies"
    folder.mkdir()
    for i in range(POLICIES - 1):
        (folder / f"{i}.yaml").write_text(policy(f"p{i}", _ELSEWHERE + i, *rules(i)))
    yield Many(folder, gate, listener, Library())
    listener.close()
    gate.close()
    attacher.close()


def test_many(many: Many) -> None:
    """1,000 policies of 100 rules, from nothing, and one of them that changes: each until a request is judged by it."""
    many.write("/first")
    policies = many.read()
    assert (len(policies), sum(map(_size, policies))) == (POLICIES, POLICIES * RULES)
    first = []
    for _ in range(3):
        many.gate.enforcer = Enforcer(many.gate.gate, many.gate.axon.kernel.quiesce)
        first.append(many.force(policies, "/first"))
        assert many.denied("/next/0")
    read, forced = [], []
    for i in range(CHANGES):
        many.write(f"/next/{i}")
        began = time.monotonic()
        policies = many.read()
        read.append(time.monotonic() - began)
        forced.append(many.force(policies, f"/next/{i}"))
        assert many.denied("/first")
    whole = [a + b for a, b in zip(read, forced, strict=True)]
    print(  # noqa: T201 - for who wants to know by how much
        f"{POLICIES * RULES:,} rules in force {_shown(first)} after they were read; a change {_shown(forced)} after "
        f"its file was, {_shown(whole)} with it"
    )
    # the least: others have the processors as well
    assert min(first) < MOST, first
    assert min(whole) < MOST_OF_A_CHANGE, (read, forced)


def _shown(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.3f} s (at most {max(seconds):.3f})"


def _size(one: Policy) -> int:
    return sum(len(entry.rules or ()) for entry in one.ingress)
