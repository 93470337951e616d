"""Keeps the carries of exported counters on disk, see `axon.export.state`."""

from __future__ import annotations

from pathlib import Path

from axon.export import state
from axon.export.exporter import Exporter

_INHERITANCE_TICKS = 60
"""After so many looks every group of the former agent has come up, or will not."""


class Carries:
    """The file of one set of maps, which is known by its secret."""

    def __init__(self, run_dir: Path, secret: int) -> None:
        self._path = run_dir / state.FILE
        self._maps = state.maps_name(secret)
        self._ticks = 0
        self.problem: str | None = None
        """What keeps the file from being read or written, and what to do about it; or None."""

    def restore(self, exporter: Exporter) -> None:
        """Give the exporter what the former agent has left."""
        try:
            exporter.inherit(state.load(self._path, self._maps))
        except OSError as error:
            self.problem = f"Cannot read {self._path}: {error.strerror}. Counters may fall once."
        except ValueError:
            self.problem = f"{self._path} is damaged and is not used. Counters may fall once."

    def keep(self, exporter: Exporter) -> None:
        """Write what has changed since the last look."""
        self._ticks += 1
        if self._ticks == _INHERITANCE_TICKS:
            exporter.forget_inherited()
        if not exporter.take_changed():
            return
        try:
            state.save(self._path, self._maps, exporter.carries)
            self.problem = None
        except OSError as error:
            self.problem = (
                f"Cannot write {self._path}: {error.strerror}. Counters may fall at the next "
                "start: make room on that file system or set run_dir to another."
            )
