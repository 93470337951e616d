"""What retired series have counted, on disk beside the pinned maps: a restart loses nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION = 1


class Ledger:
    """Totals of retired series by role, and which slots the last addition came from.

    `totals` (roles,) is `ax_cell`. `freed` is (slot, generation, created) of slots whose counts are
    in `totals` and which may still hold them, because the agent ended right then.

    `maps` names the set of maps this belongs to: what was written about another set, which is gone,
    is not read. The file is replaced as a whole, so it is always one addition's before or after.
    """

    def __init__(
        self, path: Path, maps: str, cell: np.dtype[Any], roles: Mapping[str, int]
    ) -> None:
        self.path = path
        self._maps = maps
        self._roles = roles
        self.totals: NDArray[Any] = np.zeros(max(roles.values(), default=-1) + 1, cell)
        self.freed: list[tuple[int, int, int]] = []
        self.problem: str | None = None
        """What keeps the file from being read or written, and what to do about it; or None."""
        self._load()

    def add(self, totals: NDArray[Any], freed: Iterable[tuple[int, int, int]]) -> bool:
        """Write new totals and the slots that they came from; return whether that has succeeded.

        If not, everything stays as it was, and `problem` tells why.
        """
        freed = list(freed)
        content = {
            "version": VERSION,
            "maps": self._maps,
            "totals": {role: _plain(totals[at]) for role, at in self._roles.items()},
            "freed": freed,
        }
        draft = self.path.with_name(self.path.name + ".new")
        try:
            # No fsync: what must not be lost with this process is lost with the machine anyway,
            # because pinned maps are in its memory.
            draft.write_text(json.dumps(content))
            draft.replace(self.path)
        except OSError as e:
            self.problem = (
                f"Cannot write {self.path}: {e.strerror}. Idle series keep their places until it "
                "can be written: make room on that file system or set run_dir to another."
            )
            return False
        self.totals, self.freed, self.problem = totals, freed, None
        return True

    def _load(self) -> None:
        try:
            content = json.loads(self.path.read_bytes())
            if content["maps"] != self._maps or content["version"] != VERSION:
                return
            for role, cell in content["totals"].items():
                if role in self._roles:
                    _fill(self.totals[self._roles[role]], cell)
            self.freed = [(int(s), int(g), int(c)) for s, g, c in content["freed"]]
        except FileNotFoundError:
            return
        except OSError as e:
            self.problem = (
                f"Cannot read {self.path}: {e.strerror}. Counts of series retired before now are "
                "missing from the totals."
            )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            aside = self.path.with_name(self.path.name + ".damaged")
            self.problem = (
                f"{self.path} is damaged and was put aside as {aside.name}. Counts of series "
                "retired before now are missing from the totals."
            )
            self.totals[:] = 0
            self.freed = []
            with suppress(OSError):
                self.path.replace(aside)


def _plain(cell: np.void) -> dict[str, int | list[int]]:
    return {name: cell[name].tolist() for name in cell.dtype.names or () if name != "spare"}


def _fill(cell: Any, values: Mapping[str, Any]) -> None:
    """Set the fields that a cell has by these names; another layout's buckets as far as they go."""
    for name in cell.dtype.names:
        if name in values:
            if cell.dtype[name].shape:
                n = min(len(values[name]), cell.dtype[name].shape[0])
                cell[name][:n] = np.array(values[name][:n], np.uint64)
            else:
                cell[name] = np.uint64(values[name])
