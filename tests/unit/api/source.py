"""An agent made of constants, for what is about the server and the client alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from axon.api import policy, schema
from axon.api.filters import FlowFilter
from axon.api.source import BusyError
from axon.export.families import Family, Scalars
from axon.export.labels import NO_LABELS

FLOW = schema.Flow(
    time=1.75e9,
    service="web",
    namespace="",
    role="server",
    method="GET",
    route="/users/{id}",
    path="/users/7",
    path_cut=False,
    host="localhost",
    version="1.1",
    status=200,
    error=None,
    duration=0.001,
    ttfb=0.0005,
    request_body=0,
    response_body=3,
    request_wire=80,
    response_wire=120,
    source=schema.End(address="127.0.0.1", port=40000),
    destination=schema.End(address="127.0.0.1", port=80),
    pid=1,
    tid=1,
    command="nginx",
    cgroup=1,
    connection="ffffffffffffffff",
    number=0,
    reasons=["sampled"],
    verdict=None,
    policy=None,
    rule=None,
    denial=None,
    caller=None,
)
TOTALS = schema.Totals(
    rate=1.0,
    error_rate=0.0,
    count=10,
    total=100,
    p50=0.001,
    p95=None,
    p99=None,
    request_bytes=1.0,
    response_bytes=2.0,
)
SNAPSHOT = schema.Snapshot(
    host="here",
    time=1.75e9,
    window=10.0,
    slow=1.0,
    endpoints=[],
    server=TOTALS,
    client=TOTALS,
    lost={},
    connections={"http1": 1},
    notes=[],
)


POLICIES = policy.Policies(
    directory="/etc/axon/policies",
    labels=None,
    mode="enforce",
    generation=3,
    problem="",
    denials={"rule": 4},
    policies=[
        policy.Policy(
            name="web",
            namespace="default",
            mode="audit",
            selector="app=web",
            rules=2,
            workloads=["nginx.service"],
            forwarded=10,
            audit=1,
            dropped=0,
            file="/etc/axon/policies/web.yaml",
            line=1,
            digest="00",
        )
    ],
)


TRAFFIC = policy.Traffic(
    seconds=60.0,
    lost=0,
    exchanges=[
        policy.Exchange(
            service="nginx.service",
            labels={"app": "web"},
            namespace="default",
            port=80,
            caller=policy.Caller(service="", labels=None, namespace="default", address="10.0.0.7"),
            method="GET",
            route="/users/{id}",
            count=3,
            denied=False,
            samples=[policy.Sample(path="/users/7", host="localhost")],
        )
    ],
)


class FakeStream:
    """A stream of the same flow, a few at a time."""

    def __init__(self, source: FakeSource, number: int, limit: int) -> None:
        self._source = source
        self.id = number
        self._limit = limit
        self._shown = 0
        self._ended = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[list[schema.Flow]]:
        """Yield flows until the limit, then wait for the end."""
        while not self._ended.is_set():
            if self._limit and self._shown >= self._limit:
                return
            if self._shown < 3 or self._limit:
                self._shown += 1
                yield [FLOW]
                continue
            try:
                await asyncio.wait_for(self._ended.wait(), 0.05)
            except TimeoutError:
                yield []

    def finish(self) -> schema.Finish:
        """End it."""
        self._ended.set()
        self._source.streams.pop(self.id, None)
        return schema.Finish(matched=1000, shown=self._shown)


class FakeSource:
    """A source whose health can be set, and which breaks on demand."""

    def __init__(self) -> None:
        self.healthy = True
        self.breaks = False
        self.streams: dict[int, FakeStream] = {}
        self.wanted: FlowFilter | None = None
        self.most = 2

    def snapshot(self) -> bytes:
        """Return the snapshot, or nothing before the first."""
        if self.breaks:
            raise RuntimeError("broken")
        return msgspec.json.encode(SNAPSHOT) if self.healthy else b""

    def status(self) -> schema.Status:
        """Return a status."""
        return schema.Status(
            version="1",
            pid=1,
            started=1.0,
            attached=True,
            healthy=True,
            problem="",
            pin_dir="/",
            cgroup="off",
            metrics="off",
            kernel="6",
            programs=[],
            tables=[],
            kernel_bytes=1,
            bytes_per_socket=1,
            resident_bytes=1,
            cpu_seconds=1.0,
            snapshot_seconds=0.1,
            counters={},
        )

    def config(self) -> schema.Config:
        """Return a setting."""
        option = schema.Option(name="keep", value="false", source="default", help="Keep.")
        return schema.Config(settings=[option])

    def health(self) -> schema.Health:
        """Return the health that was set."""
        return schema.Health(ok=self.healthy, problem="" if self.healthy else "gone")

    ready = health

    def policies(self) -> policy.Policies:
        """Return a policy."""
        return POLICIES

    look = policies

    def traffic(self) -> policy.Traffic:
        """Return what was asked once."""
        return TRAFFIC

    def recent(self, wanted: FlowFilter, last: int) -> list[schema.Flow]:
        """Return so many flows, at most five."""
        self.wanted = wanted
        return [FLOW] * min(last, 5)

    def follow(self, wanted: FlowFilter, *, rate: float, limit: int) -> FakeStream:
        """Begin a stream."""
        assert rate > 0
        self.wanted = wanted
        if len(self.streams) >= self.most:
            raise BusyError("two are enough")
        stream = FakeStream(self, len(self.streams) + 1, limit)
        self.streams[stream.id] = stream
        return stream

    def finish(self, stream: int) -> schema.Finish | None:
        """End a stream."""
        found = self.streams.get(stream)
        return found.finish() if found else None

    def families(self) -> list[Family]:
        """Return one metric."""
        return [Scalars("axon_x", "X.", "gauge", [NO_LABELS], [1.0])]
