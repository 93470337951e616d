"""Numbers that stand for things, and stay theirs while they live."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Mapping
from typing import Generic, TypeVar

from axon.errors import PolicyError

Thing = TypeVar("Thing", bound=Hashable)


class Registry(Generic[Thing]):
    """Gives each thing a number from `first` on, below `end`; `what` is what they are, for errors.

    A number is given again only after all others have been, so that what was counted for its last
    owner can be told from what is its next one's.
    """

    def __init__(self, first: int, end: int, what: str) -> None:
        self._numbers: dict[Thing, int] = {}
        self._free: deque[int] = deque()
        self._next = first
        self._end = end
        self._most = end - first
        self._what = what

    def __getitem__(self, thing: Thing) -> int:
        """Return a thing's number; raise PolicyError when there is none left."""
        number = self._numbers.get(thing)
        if number is None:
            number = self._numbers[thing] = self._draw(thing)
        return number

    def __len__(self) -> int:
        return len(self._numbers)

    def take(self, known: Mapping[int, Thing]) -> None:
        """Go on from numbers that were given out before; a thing has the last of several."""
        for number, thing in sorted(known.items(), key=lambda item: item[0]):
            if thing in self._numbers:
                self._free.append(self._numbers[thing])
            self._numbers[thing] = number
            self._free.extend(range(self._next, number))
            self._next = max(self._next, number + 1)

    def copy(self) -> Registry[Thing]:
        """Return another that goes on from the same numbers."""
        other: Registry[Thing] = Registry(self._next, self._end, self._what)
        other._most = self._most
        other._numbers = self._numbers.copy()
        other._free = self._free.copy()
        return other

    def keep(self, alive: Collection[Thing]) -> None:
        """Take back the numbers of everything else."""
        for thing in [thing for thing in self._numbers if thing not in alive]:
            self._free.append(self._numbers.pop(thing))

    def _draw(self, thing: Thing) -> int:
        if self._next < self._end:
            self._next += 1
            return self._next - 1
        if self._free:
            return self._free.popleft()
        raise PolicyError(
            f"{'/'.join(thing) if isinstance(thing, tuple) else thing} is without a number: there are "
            f"more than {self._most:,} {self._what}, and Axon tells no more apart. Remove some. "
            "Nothing was changed."
        )
