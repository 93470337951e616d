"""The table of kernels (kernels.toml), and how a row becomes something that boots."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kernels.errors import KernelsError

TABLE = Path(__file__).with_name("kernels.toml")
FRESH_SECONDS = 7 * 24 * 3600.0


def cache_directory() -> Path:
    """Where kernels are kept between runs: `AXON_KERNELS_CACHE`, or below the user's cache."""
    if given := os.environ.get("AXON_KERNELS_CACHE"):
        return Path(given).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "axon" / "kernels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kernel of the table; see kernels.toml for the fields."""

    name: str
    reason: str
    arch: str = "amd64"
    package: str = ""
    suites: Sequence[str] = ()
    tests: Sequence[str] = ("works", "core", "attacks")
    deb: Sequence[str] = ()
    image: str = ""
    modules: str = ""
    userspace: str = ""
    ways: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A way in which nodes differ beside their kernel; see kernels.toml for the fields."""

    name: str
    reason: str
    kernels: Sequence[str]
    tests: Sequence[str]
    cgroup: str = "v2"
    sysctls: Mapping[str, str] = field(default_factory=dict)
    append: str = ""
    cards: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """A test that does not run on some kernels; see kernels.toml for the fields."""

    test: str
    reason: str
    kernels: Sequence[str] = ()

    def on(self, kernel: str) -> bool:
        """Whether it is left out there."""
        return not self.kernels or kernel in self.kernels


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """Files of tests that no guest runs; see kernels.toml for the fields."""

    files: Sequence[str]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Userspace:
    """A user space of another architecture; see kernels.toml for the fields."""

    arch: str
    suites: Sequence[str]
    packages: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    python: str = "python3"


@dataclass(frozen=True, slots=True)
class Table:
    """A whole table."""

    rows: list[Row]
    configurations: list[Configuration]
    tests: Mapping[str, Sequence[str]]  # the paths of each group of tests
    userspaces: Mapping[str, Userspace]
    unfit: Sequence[Unfit]
    apart: Sequence[Apart]
    ways: Sequence[str]  # how tests of policies reach their servers, where a row does not say it
    load: float  # how much tests of volume send, of what they send on this machine

    def ways_of(self, row: Row) -> Sequence[str]:
        """How tests of policies reach their servers on a kernel."""
        return row.ways or self.ways

    def choose(self, names: Sequence[str]) -> list[Row]:
        """The rows with these names, in the table's order; all of them if there are no names."""
        if unknown := set(names) - {row.name for row in self.rows}:
            raise KernelsError(
                f"no kernel {', '.join(sorted(unknown))} in the table;"
                f" there are {', '.join(row.name for row in self.rows)}"
            )
        return [row for row in self.rows if not names or row.name in names]


def read(path: Path = TABLE) -> Table:
    """Reads a table; one without configurations and tests of its own has those of kernels.toml."""
    try:
        given: dict[str, Any] = tomllib.loads(path.read_text())
        base: dict[str, Any] = tomllib.loads(TABLE.read_text())
        return Table(
            rows=[Row(**entry) for entry in given["kernel"]],
            configurations=[
                Configuration(**entry)
                for entry in given.get("configuration", base["configuration"])
            ],
            tests=base["tests"] | given.get("tests", {}),
            unfit=[Unfit(**entry) for entry in base["unfit"]],
            apart=[Apart(**entry) for entry in base["apart"]],
            ways=base["ways"],
            load=base["load"],
            userspaces={
                name: Userspace(**entry)
                for name, entry in (base["userspace"] | given.get("userspace", {})).items()
            },
        )
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise KernelsError(f"{path}: {error}; {TABLE.name} describes the fields") from error
