"""What the API needs of the agent behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from axon.api import policy, schema
from axon.api.filters import FlowFilter
from axon.errors import AxonError
from axon.export.families import Family


class BusyError(AxonError):
    """As many observers as there can be are there already."""


class Stream(Protocol):
    """A live stream of flows."""

    @property
    def id(self) -> int:
        """What ends it: `Source.finish`."""
        ...

    def __aiter__(self) -> AsyncIterator[list[schema.Flow]]:
        """Yield flows as they happen, in batches; an empty one at least once a second.

        Ends when the limit is reached, or after `finish`.
        """
        ...

    def finish(self) -> schema.Finish:
        """End it; return what it has seen. May be called again."""
        ...


class Source(Protocol):
    """The agent, as the API sees it."""

    def snapshot(self) -> bytes:
        """Return the last `schema.Snapshot`, encoded once a tick."""
        ...

    def status(self) -> schema.Status:
        """Return the state of the agent and its programs."""
        ...

    def config(self) -> schema.Config:
        """Return the settings in force."""
        ...

    def policies(self) -> policy.Policies:
        """Return the policies in force."""
        ...

    def look(self) -> policy.Policies:
        """Take up what has changed in the policies' files; return those in force then."""
        ...

    def traffic(self) -> policy.Traffic:
        """Return what was asked in the last hours."""
        ...

    def health(self) -> schema.Health:
        """Return whether the agent does what it should."""
        ...

    def ready(self) -> schema.Health:
        """Return whether the programs are attached and have been read once."""
        ...

    def recent(self, wanted: FlowFilter, last: int) -> list[schema.Flow]:
        """Return up to `last` of the newest flows kept that pass the filter, oldest first."""
        ...

    def follow(self, wanted: FlowFilter, *, rate: float, limit: int) -> Stream:
        """Begin a stream of at most `rate` flows a second, and `limit` in all unless that is 0.

        Raises BusyError if there are too many already.
        """
        ...

    def finish(self, stream: int) -> schema.Finish | None:
        """End a stream by its id; None if there is none."""
        ...

    def families(self) -> list[Family]:
        """Return all metrics as of the last tick."""
        ...
