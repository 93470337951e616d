"""Where images lie in the kernel's arena, so that those which have not changed stay where they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from axon.errors import PolicyError
from axon.policy.compiler import layout
from axon.policy.compiler.image import Image, entries_at

FIRST = 8
"""Cells in front that stay 0: an empty bitmap is among them."""


class Place(NamedTuple):
    """An image's first cell, how many it has, and its serial number."""

    base: int
    size: int
    serial: int


@dataclass(frozen=True)
class Placement:
    """Where the images of a generation lie.

    `entries` are the rows of ax_pol_dir; entry 0 is no set, and its serial the highest that was ever
    given. `writes` are first cells and cells of what is not there yet.
    """

    entries: NDArray[Any]
    writes: tuple[tuple[int, NDArray[np.uint64]], ...]
    places: dict[bytes, Place]

    @property
    def end(self) -> int:
        """The first cell behind all images."""
        return max((place.base + place.size for place in self.places.values()), default=FIRST)


class Arena:
    """Gives images their places. What is in use is never given away.

    `cells` is its size. `taken` are places that an earlier agent's generation has (first cell and
    size, which is the value of that cell), free after the first switch; `serial` is one that none of
    its sets had, nor any later number.
    """

    def __init__(self, cells: int, taken: Iterable[tuple[int, int]] = (), serial: int = 1) -> None:
        self._cells = cells
        self._taken = list(taken)
        self._serial = serial
        self._used: dict[bytes, Place] = {}

    @property
    def tight(self) -> bool:
        """Whether what is in use takes more than half, so that none like it fits beside it."""
        return self._in_use > self._half

    @property
    def _half(self) -> int:
        return (self._cells - FIRST) // 2

    @property
    def _in_use(self) -> int:
        return sum(place.size for place in self._used.values())

    def check(self, images: Sequence[Image]) -> None:
        """Raise PolicyError if images take more than half, and more than what is in use.

        After that nothing could be changed.
        """
        needed = sum({image.digest: len(image.cells) for image in images}.values())
        if needed > max(self._half, self._in_use):
            raise PolicyError(
                f"The policies need {needed * 8 >> 10:,} KiB in the kernel, and may take half of "
                f"policy_memory ({self._cells * 8 >> 10:,} KiB), as the next ones are written beside "
                "them: remove rules, or raise it. Nothing was changed."
            )

    def place(self, images: Sequence[Image]) -> Placement:
        """Return places for the next generation; raise PolicyError when there is no room.

        The places of the generation in use are kept. Nothing counts until `switched`.
        """
        places: dict[bytes, Place] = {}
        fresh: dict[bytes, Image] = {}
        for image in images:
            if image.digest in self._used:
                places[image.digest] = self._used[image.digest]
            else:
                fresh[image.digest] = image
        holes = self._holes()
        writes = []
        for digest, image in fresh.items():
            base = _take(holes, len(image.cells))
            if base is None:
                needed = sum(len(image.cells) for image in fresh.values())
                raise PolicyError(
                    f"The policies need {needed * 8 >> 10:,} KiB in the kernel beside those in "
                    f"force, and of {self._cells * 8 >> 10:,} KiB there is no room for them: remove "
                    "rules, or raise policy_memory and restart the agent. Nothing was changed."
                )
            places[digest] = Place(base, len(image.cells), self._serial)
            self._serial += 1
            writes.append((base, image.placed(base)))
        entries = np.zeros(len(images) + 1, layout.SET)
        entries[0]["serial"] = self._serial - 1
        if images:
            given = [places[image.digest] for image in images]
            entries[1:] = entries_at(
                images, [place.base for place in given], [place.serial for place in given]
            )
        return Placement(entries, tuple(writes), places)

    def holds(self, images: Sequence[Image]) -> bool:
        """Return whether images have room in an arena like this where nothing else is."""
        try:
            Arena(self._cells).place(images)
        except PolicyError:
            return False
        return True

    def switched(self, placement: Placement) -> None:
        """Take note that a generation is in use, and nothing of an earlier one any more."""
        self._used = placement.places
        self._taken = []

    def _holes(self) -> list[tuple[int, int]]:
        """Return the free stretches, (first cell, first behind), in their order."""
        used = [(place.base, place.base + place.size) for place in self._used.values()]
        used += [(base, base + size) for base, size in self._taken]
        holes = []
        at = FIRST
        for base, end in sorted(used):
            if base > at:
                holes.append((at, base))
            at = max(at, end)
        holes.append((at, self._cells))
        return holes


def taken(entries: NDArray[Any], arena: NDArray[np.uint64]) -> tuple[list[tuple[int, int]], int]:
    """Return the places of a generation that an earlier agent left in the kernel, and a serial that
    no set ever had: from its half of ax_pol_dir and the arena's cells.
    """
    places = set()
    sets = entries[1:]
    for entry in sets[sets["serial"] != 0]:
        base = int(entry["rules"]) - 1  # an image's first cell holds its size, its rules follow
        places.add((base, int(arena[base])))
    return sorted(places), int(entries["serial"].max(initial=0)) + 1


def _take(holes: list[tuple[int, int]], size: int) -> int | None:
    """Return the first cell of the first hole that is large enough, and make it smaller."""
    for i, (base, end) in enumerate(holes):
        if end - base >= size:
            holes[i] = (base + size, end)
            return base
    return None
