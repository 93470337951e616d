"""An agent that says what it was told to: the real API on a real socket, with invented traffic."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from axon.api import policy, schema
from axon.api.filters import FlowFilter
from axon.api.server import Server
from axon.errors import AxonError
from axon.export.families import Family
from axon.policy import Policy, load_policies
from tests.unit.view import samples


class CannedStream:
    """A stream of the same flow over and over, one a batch, every hundredth of a second."""

    id = 7

    def __init__(self, flow: schema.Flow, limit: int = 0, *, at_least: bool = False) -> None:
        self._flow = flow
        self._limit = limit
        self._shown = 0
        self._ended = False
        self._at_least = at_least

    async def __aiter__(self) -> AsyncIterator[list[schema.Flow]]:
        """Yield flows until the stream is ended or has reached its limit."""
        while not self._ended and not 0 < self._limit <= self._shown:
            self._shown += 1
            yield [self._flow]
            await asyncio.sleep(0.01)

    def finish(self) -> schema.Finish:
        """End it: ten times as many requests matched as were shown."""
        self._ended = True
        return schema.Finish(matched=self._shown * 10, shown=self._shown, at_least=self._at_least)


class Canned:
    """What the API asks of an agent."""

    def __init__(self) -> None:
        self.picture = samples.snapshot()
        self.state = status()
        self.flows = [samples.flow(number=number) for number in range(30)]
        self.asked: FlowFilter | None = None
        self.directory: Path | None = None
        self.options: list[schema.Option] = []
        self.in_force: list[Policy] = []
        self.selected = ["nginx.service"]
        self.problem = ""
        self.exchanges: list[policy.Exchange] = []
        self.remembers = 3600.0
        self.stream = CannedStream(samples.flow())

    def snapshot(self) -> bytes:
        """Return the sample host."""
        return msgspec.json.encode(self.picture)

    def status(self) -> schema.Status:
        """Return the sample status."""
        return self.state

    def config(self) -> schema.Config:
        """Return the settings that were set."""
        return schema.Config(settings=self.options)

    def health(self) -> schema.Health:
        """Return what the status says."""
        return schema.Health(ok=self.state.healthy, problem=self.state.problem)

    def ready(self) -> schema.Health:
        """Return the same."""
        return self.health()

    def policies(self) -> policy.Policies:
        """Return what is in force: one that was denied five times, and is for nginx."""
        return policy.Policies(
            directory=None if self.directory is None else str(self.directory),
            labels=None,
            mode="enforce",
            generation=len(self.in_force),
            problem=self.problem,
            denials={"rule": 4, "held": 9},
            policies=[
                policy.Policy(
                    name=one.name,
                    namespace=one.namespace,
                    mode=one.mode.value,
                    selector=str(one.selector),
                    rules=len(one.ingress),
                    workloads=self.selected,
                    forwarded=10,
                    audit=0,
                    dropped=5,
                    file=one.mark.file if one.mark else "",
                    line=one.mark.line if one.mark else 0,
                    digest=one.digest,
                )
                for one in self.in_force
            ],
        )

    def traffic(self) -> policy.Traffic:
        """Return what was said to have been asked."""
        return policy.Traffic(seconds=self.remembers, lost=0, exchanges=self.exchanges)

    def look(self) -> policy.Policies:
        """Read the directory; a policy that is called `heavy` exceeds a bound."""
        self.problem = ""
        try:
            found = load_policies([self.directory]) if self.directory else []
        except AxonError as error:
            self.problem = str(error)
            return self.policies()
        if any(one.name == "heavy" for one in found):
            self.problem = "The policies need more than there is."
        else:
            self.in_force = found
        return self.policies()

    def recent(self, wanted: FlowFilter, last: int) -> list[schema.Flow]:
        """Return the newest flows, and remember what was asked for."""
        self.asked = wanted
        return self.flows[-last:] if last else []

    def follow(self, wanted: FlowFilter, *, rate: float, limit: int) -> CannedStream:
        """Return the stream, and remember what was asked for; of a service more may have matched."""
        del rate
        self.asked = wanted
        self.stream = CannedStream(samples.flow(), limit, at_least=wanted.service != "")
        return self.stream

    def finish(self, stream: int) -> schema.Finish | None:
        """End the stream."""
        return self.stream.finish() if stream == self.stream.id else None

    def families(self) -> list[Family]:
        """Return no metrics."""
        return []

    @contextmanager
    def served(self, path: Path) -> Iterator[None]:
        """Serve the API on a Unix socket from a thread of its own."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        server = Server(self)
        asyncio.run_coroutine_threadsafe(server.serve_socket(path), loop).result(10)
        try:
            yield
        finally:
            self.stream.finish()
            asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


def status() -> schema.Status:
    """Return the status of an agent that is well."""
    return schema.Status(
        version="0.1.0",
        pid=4242,
        started=1_763_800_000.0,
        attached=True,
        healthy=True,
        problem="",
        pin_dir="/sys/fs/bpf/axon",
        cgroup="/sys/fs/cgroup/unified",
        metrics="127.0.0.1:9464",
        kernel="6.18.0",
        programs=[
            schema.Program(
                name="ax_ingress",
                run_count=1_234_567,
                run_seconds=0.385,
                verified_instructions=4312,
            ),
            schema.Program(
                name="ax_egress", run_count=0, run_seconds=0.0, verified_instructions=3210
            ),
        ],
        tables=[schema.Table(name="ax_series", used=1204, size=10_000)],
        kernel_bytes=31_000_000,
        bytes_per_socket=512,
        resident_bytes=46_000_000,
        cpu_seconds=3.6,
        snapshot_seconds=0.0031,
        counters={"conn_http1": 40, "conn_tls": 12, "lost_gap": 3, "info_nest": 0},
    )
