"""What new maps of policies begin with."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from axon.kernel import setup, upgrade
from axon.kernel.gate import CONTROL, DIRECTORY
from axon.kernel.maps import Map

_NOW = [
    ("gen", "<u4"),
    ("mode", "<u4"),
    ("secret", "<u8"),
    ("newest", "<u8"),
    ("header", "<u4"),
    ("offs", "<u4"),
]
_OLDER = _NOW[:-1]


class Rows:
    """A map that is an array."""

    def __init__(self, rows: np.ndarray[Any, Any]) -> None:
        self._rows = rows
        self.entries = len(rows)

    def mapped(self, first: int, n: int) -> np.ndarray[Any, Any]:
        """Return some rows, writable."""
        return self._rows[first : first + n]


def tables(fields: list[tuple[str, str]]) -> tuple[dict[str, Map], Any]:
    """Return maps of policies with nothing in them, and the row that controls them."""
    control = np.zeros(1, np.dtype(fields))
    made = {CONTROL: Rows(control), DIRECTORY: Rows(np.zeros(8, [("serial", "<u8")]))}
    return cast("dict[str, Map]", made), control[0]


@pytest.mark.parametrize("offs", [0, 7, 0xFFFF_FFFF])
def test_how_often_the_mode_was_off(offs: int) -> None:
    """It stays: connections compare it with what they have seen."""
    before, old = tables(_NOW)
    old["gen"], old["mode"], old["offs"] = 5, 2, offs
    maps, new = tables(_NOW)
    setup.policies(maps, upgrade.enforced(before))
    assert (new["gen"], new["mode"], new["offs"]) == (5, 2, offs)


def test_older_maps() -> None:
    """Maps that do not know it neither tell it nor are told, nor does it matter where there were none."""
    for before in (tables(_OLDER)[0], {}):
        maps, new = tables(_NOW)
        setup.policies(maps, upgrade.enforced(before))
        assert new["offs"] == 0
    maps, new = tables(_OLDER)
    setup.policies(maps, upgrade.enforced(tables(_NOW)[0]))
    assert new["secret"] != 0
